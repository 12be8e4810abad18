"""The section with the resolved configuration and the versions of the software."""

from fer_lightning.report.elements import EvaluatedRun, Section, Table

MAX_CONFIG = 1 << 20


def section(run: EvaluatedRun) -> Section:
    """Shows the resolved configuration, the commit, the face store and the versions of the software."""
    folder, info = run.folder, run.info
    rows = (("commit", info.commit or "unknown"), ("store", info.store), *info.versions)
    tables = (Table("Software and data", (), tuple(rows), numbers=False),)
    title = "Configuration"
    if not folder.config.exists():
        missing = f"{folder.config} is missing: no resolved configuration was saved."
        return Section("configuration", title, missing=(missing,), tables=tables)
    content = folder.config.read_bytes()[: MAX_CONFIG + 1]
    code = content[:MAX_CONFIG].decode("utf-8", errors="replace")
    code += f"\n# truncated after {MAX_CONFIG} bytes" if len(content) > MAX_CONFIG else ""
    return Section("configuration", title, tables=tables, code=code, code_title="Resolved configuration")
