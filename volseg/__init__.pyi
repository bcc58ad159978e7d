from volseg.api import evaluate as evaluate
from volseg.api import predict as predict
from volseg.api import prepare as prepare
from volseg.api import train as train
from volseg.data.dataset import Dataset as Dataset
from volseg.data.volume import Volume as Volume
from volseg.errors import UserError as UserError
from volseg.inference.predict import PredictedMasks as PredictedMasks
from volseg.runs.run import Run as Run

__version__: str
