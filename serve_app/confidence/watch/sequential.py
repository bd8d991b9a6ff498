"""A test that may be looked at after every audit: is the rate of accepted-but-wrong answers above its target?

Betting (Waudby-Smith & Ramdas 2024, "Estimating means of bounded random variables by betting", JRSS B 86): a gambler
stakes capital on "the risk is above alpha". With losses x_t in [0, 1] and a bet b in [0, 1/alpha) fixed before x_t is
seen, capital is multiplied by 1 + b (x_t - alpha), which on average does not grow while the risk is at most alpha. So
by Ville's inequality capital that starts at 1 reaches 1/delta with probability at most delta, over all time: the
e-value may be read at any moment, and an alarm at 1/delta is false with probability at most delta.

The capital is spread over a few fixed bets, each the best one against a certain true risk. A part is held in reserve
and laid out bit by bit: capital staked early is lost during a long time in which the risk was well kept, and a later
breach could only be found with money that had not been at stake then. This is a weighted mean over tests that begin at
different audits, so it stays valid. It is what makes a change after many good audits visible: after 2,000 audits at
80 % of alpha, a risk of twice alpha is found about 450 audits later.

What is tested is the rate at which the audit says "wrong". Where the audit compares with the large model instead of
with the truth, alpha must be the rate that was seen when the policy was fitted, on that same scale.
"""

import math
from collections.abc import Callable

from serve_app.core import ConfigError

_ODDS_RATIOS = (1.5, 2.0, 3.0, 5.0)
"""Bets are laid on risks whose odds are alpha's times one of these."""
_RESERVE = 0.5
"""Share of the capital that is not at stake at the first audit."""
_RESERVE_HALVES_IN = 100
"""Audits after which half of the reserve is laid out; three quarters after three times as many, and so on."""
_BISECTIONS = 60


class RiskTest:
    """H0: every audited answer is wrong with probability at most `alpha`, given those before it.

    Median number of audits to an alarm at alpha = delta = 0.05: 160 for a doubled risk, 30 for a fourfold one.
    Answers may be audited in any order and thinned at random; they must not be picked by whether they are wrong.
    """

    def __init__(self, alpha: float, delta: float) -> None:
        """Raises ConfigError unless both are strictly between 0 and 1."""
        for name, value in (("alpha", alpha), ("delta", delta)):
            if not 0 < value < 1:
                raise ConfigError(f"{name} is {value:g}; it must lie strictly between 0 and 1.")
        self.alpha, self.delta = alpha, delta
        self.num_audited = 0
        self.total_loss = 0.0
        """Sum of the losses; the number of wrong answers where each loss is 0 or 1."""
        self._bets = [(ratio - 1) / (1 + (ratio - 1) * alpha) for ratio in _ODDS_RATIOS]
        self._stakes = [(1 - _RESERVE) / len(self._bets)] * len(self._bets)
        self._reserve = _RESERVE
        """With the stakes, shares of the capital: they sum to 1, so that only its logarithm ever grows or shrinks."""
        self._log_capital = self._peak = 0.0

    @property
    def log_e_value(self) -> float:
        """Natural logarithm of the evidence against H0 now; 0 is none. Independent tests' values may be added up."""
        return self._log_capital

    @property
    def log_alarm(self) -> float:
        """The `log_e_value` at which the risk counts as too high: log(1/delta)."""
        return -math.log(self.delta)

    @property
    def breached(self) -> bool:
        """Whether the evidence has ever reached the alarm."""
        return self._peak >= self.log_alarm

    def add(self, loss: float) -> None:
        """Take one audit: 0 right, 1 wrong, or in between. Raises ValueError for anything else."""
        if not 0 <= loss <= 1:
            raise ValueError(f"a loss of {loss} is not between 0 and 1")
        laid_out = self._reserve / (self.num_audited + 1 + _RESERVE_HALVES_IN)  # before the loss is looked at
        reserve, part = self._reserve - laid_out, laid_out / len(self._bets)
        gain = loss - self.alpha
        stakes = [(stake + part) * (1 + bet * gain) for stake, bet in zip(self._stakes, self._bets, strict=True)]
        growth = sum(stakes) + reserve
        self._stakes, self._reserve = [stake / growth for stake in stakes], reserve / growth
        self._log_capital += math.log(growth)
        self._peak = max(self._peak, self._log_capital)
        self.num_audited += 1
        self.total_loss += loss


def risk_interval(num_audited: int, total_loss: float, delta: float) -> tuple[float, float]:
    """Bounds that hold a constant risk at all times at once with probability at least 1 - delta; (0, 1) for no audits.

    The interval of those risks against which a gambler, whose bets are spread by a Beta(1/2, 1/2) prior (Robbins 1970;
    Howard et al. 2021, "Time-uniform, nonparametric, nonasymptotic confidence sequences"), has less than 1/delta.

    >>> lower, upper = risk_interval(400, 12, 0.05)
    >>> round(lower, 3), round(upper, 3)
    (0.009, 0.07)
    """
    right = num_audited - total_loss
    constant = _log_beta(total_loss + 0.5, right + 0.5) - _log_beta(0.5, 0.5)

    def tenable(risk: float) -> bool:
        return constant - _log_power(risk, total_loss) - _log_power(1 - risk, right) < -math.log(delta)

    best = total_loss / num_audited if num_audited else 0.5
    return _bisect(0.0, best, tenable), _bisect(1.0, best, tenable)


def _bisect(outside: float, inside: float, tenable: Callable[[float], bool]) -> float:
    """The last tenable risk on the way from `inside` to `outside`, erring to the outside."""
    if tenable(outside):
        return outside
    for _ in range(_BISECTIONS):
        middle = (outside + inside) / 2
        if tenable(middle):
            inside = middle
        else:
            outside = middle
    return outside


def _log_power(base: float, exponent: float) -> float:
    """log(base ** exponent), with 0 ** 0 = 1."""
    if exponent == 0:
        return 0.0
    return exponent * math.log(base) if base > 0 else -math.inf


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
