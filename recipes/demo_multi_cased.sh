#!/bin/sh
# Makes checkpoints/demo_multi_cased: vocabulary, piece ids, training, evaluation, float16 release.
#
#   recipes/demo_multi_cased.sh CORPUS OUTPUT
#
# CORPUS holds <language>.txt.gz, one sentence a line and a blank line between documents, and
# docs/<language>.tsv.gz, a row for each document whose column `id` tells the source up to a '#'.
# It takes about two and a half hours on two cores that compute in bfloat16: 36,000 and 28,000 steps
# of 16 x 128 pieces, seven a second. Killed and started again, it goes on where it was. What to
# expect stands in checkpoints/demo_multi_cased/README.md; OUTPUT/demo_multi_cased is the result.
set -eu

corpus=${1:?usage: recipes/demo_multi_cased.sh CORPUS OUTPUT}
output=${2:?usage: recipes/demo_multi_cased.sh CORPUS OUTPUT}
languages=${LANGUAGES:-en ru de es zh ja}
steps=${STEPS:-36000}  # fewer, and the warm-up with them, to try it out
more=${MORE:-28000}
warmup=${WARMUP:-1500}
pieces=${PIECES:-16000}
held_out=${HELD_OUT:-60000}  # pieces of each language that are kept for the evaluation
bert_tf="${PYTHON:-python} -m bert_tf"
here=$(cd "$(dirname "$0")" && pwd)

mkdir -p "$output"
files= named= sources=
for language in $languages; do
    files="$files,$corpus/$language.txt.gz"
    named="$named,$language=$corpus/$language.txt.gz"
    sources="$sources,$language=$corpus/docs/$language.tsv.gz:id"
done

[ -e "$output/vocab.txt" ] || $bert_tf vocab --input_file="${files#,}" \
    --output_file="$output/vocab.txt" --vocab_size="$pieces" --smoothing=0.7

[ -e "$output/corpus" ] || $bert_tf tokenize --input_file="${named#,}" --sources="${sources#,}" \
    --vocab_file="$output/vocab.txt" --do_lower_case=False --output_dir="$output/corpus"

pretrain() {
    $bert_tf pretrain --do_train --do_eval \
        --input_file="$output/corpus" --held_out_pieces="$held_out" \
        --max_seq_length=128 --train_batch_size=16 \
        --masked_lm_prob=0.2 --max_predictions_per_seq=26 --whole_word_share=0.5 \
        --num_warmup_steps="$warmup" --dropout=0 --precision=bfloat16 --backend=tensorflow \
        --save_checkpoints_steps=500 --eval_steps=2000 --eval_batch_size=32 --max_eval_steps=60 "$@"
}

pretrain --output_dir="$output/training" --start=spectral \
    --bert_config_file="$here/demo_multi_cased.json" --vocab_file="$output/vocab.txt" \
    --smoothing=0.7 --num_train_steps="$steps" --learning_rate=2e-3 --random_seed=1

# On from there, at half the rate, with the languages as the text has them: more English.
pretrain --output_dir="$output/onward" --init_checkpoint="$output/training/release" \
    --smoothing=1 --num_train_steps="$more" --learning_rate=1e-3 --random_seed=2

rm -rf "$output/demo_multi_cased"
$bert_tf convert "$output/onward/release" "$output/demo_multi_cased" --dtype float16
${PYTHON:-python} "$here/one_log.py" "$output/demo_multi_cased" \
    "$output/training/log.csv" "$output/onward/log.csv"

$bert_tf evaluate --checkpoint "$output/demo_multi_cased" --corpus "$output/corpus" \
    --held_out_pieces "$held_out" --json --plot "$output/judgement.png" \
    > "$output/demo_multi_cased/judgement.json"
