"""The annotator that asks a hosted model: any OpenAI-compatible endpoint."""

from mr_st.annotation.endpoint.annotator import EndpointAnnotator, EndpointStats

__all__ = ["EndpointAnnotator", "EndpointStats"]
