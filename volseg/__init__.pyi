from volseg.api import (
    Dataset as Dataset,
    PredictedMasks as PredictedMasks,
    Run as Run,
    UserError as UserError,
    Volume as Volume,
    evaluate as evaluate,
    predict as predict,
    prepare as prepare,
    train as train,
)

__version__: str
