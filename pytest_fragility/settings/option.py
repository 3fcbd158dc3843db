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
    read
        How texts, and values of TOML, are read: a key of `pytest_fragility.plugin.ini.READERS`.
    metavar
        What ``--help`` shows for a value. Where it is empty, it shows the `choices`; without them,
        the flag takes no value.
    choices
        All values that there are, where that is known.
    check
        How a value is checked by itself: a key of `pytest_fragility.settings.validators.CHECKS`.
        Empty where the value depends on other options, or where `choices` say it all.
    repeated
        Whether the command line may say it more than once, and all counts.
    once
        Whether it is an error to type it twice, since the last would take the first's place.
    rerun
        Whether the command that runs a test again repeats it, although it is no setting.
    needs_audits
        When it is an error on a run without audits: `IF_TYPED`, `ALWAYS`, or empty for never.
    serves
        The kinds of checks that it is for; empty for all.
    """

    name: str
    help: str
    says: str = RUN
    on: tuple[str, ...] = TYPED
    default: Any = None
    words: str = ""
    read: str = "text"
    metavar: str = ""
    choices: tuple[str, ...] = ()
    check: str = ""
    repeated: bool = False
    once: bool = False
    rerun: bool = False
    needs_audits: str = ""
    serves: tuple[str, ...] = ()

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
        return not self.metavar and not self.choices

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
