"""MLServer's scikit-learn runtime, except that loading waits until it is let go.

Real models take minutes to load; this one takes as long as the test wants, so that "the port is open but the model is
still loading" is a state to be tested and not a race to be won.
"""

import asyncio
import os
from pathlib import Path

from mlserver_sklearn import SKLearnModel


class HeldIris(SKLearnModel):
    async def load(self) -> bool:
        hold = Path(os.environ["IRIS_HOLD_FILE"])
        while hold.exists():
            await asyncio.sleep(0.02)
        return await super().load()
