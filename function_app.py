"""The Functions app: every function of every stage, registered. Nothing else happens here."""

import azure.functions as func

from flockiq.capture.functions import blueprint as capture
from flockiq.merge.functions import blueprint as merge
from flockiq.pipeline.functions import blueprint as pipeline
from flockiq.serve.functions import blueprint as serve
from flockiq.signal.functions import blueprint as signal

app = func.FunctionApp()
for blueprint in (capture, merge, pipeline, signal, serve):
    app.register_functions(blueprint)
