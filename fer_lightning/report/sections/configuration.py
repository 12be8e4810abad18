"""The resolved configuration and what the run was made with."""

from fer_lightning.report.elements import EvaluatedRun, Section, Table

MAX_CONFIG = 1 << 20


def section(run: EvaluatedRun) -> Section:
    """The resolved configuration and what the run was made with."""
    folder, info = run.folder, run.info
    rows = (("commit", info.commit or "unknown"), ("store", info.store), *info.versions)
    tables = (Table("Made with", (), tuple(rows), numbers=False),)
    title = "Configuration"
    if not folder.config.exists():
        missing = f"{folder.config} is missing: no resolved configuration was saved."
        return Section("configuration", title, missing=(missing,), tables=tables)
    content = folder.config.read_bytes()[: MAX_CONFIG + 1]
    code = content[:MAX_CONFIG].decode("utf-8", errors="replace")
    code += f"\n# cut after {MAX_CONFIG} bytes" if len(content) > MAX_CONFIG else ""
    return Section("configuration", title, tables=tables, code=code, code_title="Resolved configuration")
