"""Text to vectors: sharded, content-keyed encoding that mining and evaluation share."""

from mr_st.encoding.catalogue_files import StaleIndexError
from mr_st.encoding.catalogue_index import CatalogueIndex, Hit
from mr_st.encoding.encode import encode, prompt_of
from mr_st.encoding.encode_stage import EncodeStage
from mr_st.encoding.shard_folder import ShardFolder
from mr_st.encoding.vectors import Vectors

__all__ = [
    "CatalogueIndex",
    "EncodeStage",
    "Hit",
    "ShardFolder",
    "StaleIndexError",
    "Vectors",
    "encode",
    "prompt_of",
]
