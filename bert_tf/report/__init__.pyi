from .tables import bar as bar
from .tables import percent as percent
from .tables import printable as printable
from .tables import result_html as result_html
from .tables import result_text as result_text
from .tables import shorten as shorten
from .tables import table as table
from .tables import width as width
