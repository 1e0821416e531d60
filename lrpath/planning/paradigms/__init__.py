"""Paradigms: functions from versions to a tree of paths, one module for each idea.

With increments T₁…T_N [updates], and α the branch's updates ÷ the increment's:

    from_scratch     version i: its own path from initial weights over ΣT≤i, increments 1…i shuffled together
    continual        version i: from release i−1 over T_i, increment i
    path_switching   one main path at the peak; branch i leaves it at ΣT≤i − αT_i and ends, fully decayed, at ΣT≤i
    wsd_s            as continual, but each version holds the peak and decays over its last α T_i
    infinite         as path_switching, from a constant rate below the peak that a cool-down leads to
    merged           no branch: a weighted mean of the main path's last states, weights derived from a decay curve
    anytime          one path at a constant rate whose optimizer keeps an average of the weights, released as it is
    module:Name      your own

A class of a paradigm holds its settings, plans its tree, and states what others must know of it:

    kind             its name in a configuration and in a plan on disk
    colour           its colour in every figure, of Okabe and Ito's palette, which colour-blind readers can tell apart
    rate_continues   whether the rate goes on without a jump where one of its paths leaves another
    data_continues   whether such a path reads on where its parent stands
    advisable        the settings that `lrpath.advise` can choose; empty if it cannot advise on the paradigm

References: arXiv 2410.04103 (path switching and its two baselines), 2308.04014 (re-warming), 2410.05192 (WSD-S),
2403.08763 (infinite), 2507.17634 (merging, weights c_j = w_j − w_{j+1}),
2405.15682 and 2602.03702 (anytime).
"""

from lrpath.planning.paradigms.anytime import Anytime
from lrpath.planning.paradigms.branching import Anchor, Infinite, PathSwitching
from lrpath.planning.paradigms.continual import Continual, Restart
from lrpath.planning.paradigms.from_scratch import FromScratch, Reads
from lrpath.planning.paradigms.merged import Merged, merge_weights
from lrpath.planning.paradigms.own import OwnParadigm
from lrpath.planning.paradigms.setting import Setting, branch_stream, main_path
from lrpath.planning.paradigms.wsd_s import WsdS

Paradigm = FromScratch | Continual | PathSwitching | Infinite | WsdS | Merged | Anytime | OwnParadigm

PARADIGMS: dict[str, type[Paradigm]] = {
    kind.kind: kind for kind in (FromScratch, Continual, PathSwitching, Infinite, WsdS, Merged, Anytime)
}
"""Every paradigm of lrpath by its kind."""

KINDS: dict[str, type[Paradigm]] = PARADIGMS | {OwnParadigm.kind: OwnParadigm}
"""Every kind that a plan on disk may have."""

__all__ = [
    "KINDS",
    "PARADIGMS",
    "Anchor",
    "Anytime",
    "Continual",
    "FromScratch",
    "Infinite",
    "Merged",
    "OwnParadigm",
    "Paradigm",
    "PathSwitching",
    "Reads",
    "Restart",
    "Setting",
    "WsdS",
    "branch_stream",
    "main_path",
    "merge_weights",
]
