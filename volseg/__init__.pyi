from volseg.api import Dataset as Dataset
from volseg.api import PredictedMasks as PredictedMasks
from volseg.api import Run as Run
from volseg.api import UserError as UserError
from volseg.api import Volume as Volume
from volseg.api import evaluate as evaluate
from volseg.api import predict as predict
from volseg.api import prepare as prepare
from volseg.api import train as train

__version__: str
