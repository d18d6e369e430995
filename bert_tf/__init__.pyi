from .bert import Bert as Bert
from .config import BertConfig as BertConfig
from .data.labelled.inputs import encode_texts as encode_texts
from .errors import BertError as BertError
from .export.convert import convert_checkpoint as convert_checkpoint
from .integrations.keras_bert import (
    load_trained_model_from_checkpoint as load_trained_model_from_checkpoint,
)
from .integrations.scikit_learn import BertClassifier as BertClassifier
from .integrations.scikit_learn import BertRegressor as BertRegressor
from .loading import load as load
from .models.encoder import BertEncoder as BertEncoder
from .tasks.classify import Classify as Classify
from .tasks.fill_mask import FillMask as FillMask
from .tasks.next_sentence import NextSentence as NextSentence
from .text.tokenizer import BertTokenizer as BertTokenizer
from .text.vocab import Vocabulary as Vocabulary
from .training.finetuning.fine_tune import fine_tune as fine_tune
from .training.finetuning.new_classifier import new_classifier as new_classifier
from .training.finetuning.plan import FineTuningPlan as FineTuningPlan
from .training.optimizer import BertAdam as BertAdam
from .training.optimizer import WarmUpLinearDecay as WarmUpLinearDecay

__version__: str
