"""What an option is: a row of the table of options."""

from __future__ import annotations

from typing import Any, NamedTuple

# where an option may be said: as an argument of `audit`, of a marker, on the command line, in a
# configuration file
CALL, MARK, FLAG, INI = "call", "mark", "flag", "ini"
IN_CODE, TYPED, EVERYWHERE = (CALL, MARK), (FLAG, INI), (CALL, MARK, FLAG, INI)

# what an option says: which networks are audited, how they are trained, how they are judged, where
# the work is done and for how long, which existing networks are taken; RUN is for what is no
# setting of an audit
WHAT, TRAINING, JUDGING, WHERE = "what", "how trained", "judging", "where"
SOURCE, RUN = "source", "run"

# when an option is an error without audits: where it was typed, or configuration adds it as well
IF_TYPED, ALWAYS = "if typed", "always"

_METAVARS = {
    **{"seconds": "SECONDS", "names": "A,B,...", "whole": "N", "seeds": "N", "rate": "A"},
    **{"device": "DEVICE", "folder": "DIR", "flag": "", "axes": "", "choice": ""},
}


class Option(NamedTuple):
    """An option: what it says, where it may be said, and what a value of it is.

    Parameters
    ----------
    name
        As an argument; ``fragility_<name>`` in files, ``--fragility-<name>`` on the command line.
    help
        What it says, in a sentence without a full stop; the default is added to it.
    says
        Which of an audit's questions it answers.
    on
        Where it may be said.
    default
        What counts where nobody says anything; None where that depends on other options.
    words
        The default in words, where it is None.
    takes
        What a value is: `pytest_fragility.plugin.ini.READERS` says how it is read, and
        `pytest_fragility.settings.validators.CHECKS` how it is checked, where that depends on no
        other option.
    metavar
        What ``--help`` shows for a value, where that does not follow from what the option takes.
    choices
        All values that there are, where that is known.
    repeated
        Whether the command line may say it more than once, and all counts.
    once
        Whether it is an error to type it twice, since the last would take the first's place.
    rerun
        Whether the command that runs a test again repeats it, although it is no setting.
    needs_audits
        When it is an error on a run without audits: `IF_TYPED`, `ALWAYS`, or empty for never.
    """

    name: str
    help: str
    says: str = RUN
    on: tuple[str, ...] = EVERYWHERE
    default: Any = None
    words: str = ""
    takes: str = "text"
    metavar: str = ""
    choices: tuple[str, ...] = ()
    repeated: bool = False
    once: bool = False
    rerun: bool = False
    needs_audits: str = ""

    @property
    def key(self) -> str:
        """How configuration files spell it."""
        return f"fragility_{self.name}" if self.name else "fragility"

    @property
    def flag(self) -> str:
        """How the command line spells it."""
        return f"--{self.key.replace('_', '-')}"

    @property
    def is_switch(self) -> bool:
        """Whether its flag takes no value."""
        return self.takes in ("flag", "axes")

    @property
    def shown_value(self) -> str:
        """What ``--help`` shows for a value; empty for a switch, and for one of its choices."""
        return self.metavar or _METAVARS.get(self.takes, "NAME")

    @property
    def default_in_words(self) -> str:
        """What people read as the default; empty where there is nothing to say."""
        if self.words or self.default is None or isinstance(self.default, bool):
            return self.words
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)

    @property
    def full_help(self) -> str:
        """What it says, with the default."""
        default = self.default_in_words
        return f"{self.help}. Default: {default}" if default else self.help
