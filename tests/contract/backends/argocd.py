"""The metrics page of a repo-server."""

from contextlib import AbstractAsyncContextManager

from scaler.demo.contract import Stage, page_stage

PAGE = b'argocd_repo_pending_request_total{repo="x"} 9\ngo_info{version="go1.25"} 1\n'


def stage() -> AbstractAsyncContextManager[Stage]:
    """Show pending requests."""
    return page_stage({"component": "repo-server"}, PAGE, b"<html></html>\n")
