"""The error tree.

    MarqueeError            exit 1
    ├── UsageError          exit 2: a command or a setting used wrongly
    ├── SetupError          something that must be installed is not
    ├── ServerAway          a broker or a store does not answer
    ├── StoreError          a broker or a store answered that it cannot
    │   └── Conflict        what was to be changed is not as it was read any more
    ├── Deposed             an act under an epoch that is over: another one leads
    ├── SourceError         a source of the log cannot be read exactly (re-created, truncated, grown)
    │   └── NoTopic         there is no topic of that name
    ├── CheckpointError     no checkpoint verifies, or one cannot be read
    │   └── OutdatedState   one that is whole, of another version or of views declared otherwise
    └── DeclarationError    a View is declared wrongly

Each message is one sentence that says what to do. Vendors' errors become these where they enter (connectors).
"""


class MarqueeError(Exception):
    """The root; `exit_code` is what a command ends with."""

    exit_code = 1


class UsageError(MarqueeError):
    exit_code = 2


class SetupError(MarqueeError):
    pass


class ServerAway(MarqueeError):
    pass


class StoreError(MarqueeError):
    pass


class Conflict(StoreError):
    pass


class Deposed(MarqueeError):
    pass


class SourceError(MarqueeError):
    pass


class NoTopic(SourceError):
    pass


class CheckpointError(MarqueeError):
    pass


class OutdatedState(CheckpointError):
    pass


class DeclarationError(MarqueeError):
    pass
