"""Who runs a stage's shards: this process, several of one machine, or a cluster."""

from mr_st.mining.engines.choose import ENGINES, engine_of
from mr_st.mining.engines.local import LocalEngine
from mr_st.mining.engines.protocol import Engine
from mr_st.mining.engines.ranks import RanksEngine
from mr_st.mining.engines.ray import RayEngine

__all__ = ["ENGINES", "Engine", "LocalEngine", "RanksEngine", "RayEngine", "engine_of"]
