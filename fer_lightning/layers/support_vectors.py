"""A support vector machine that scikit-learn fits and torch evaluates, so that it is saved in checkpoints.

Wu et al. (2004), "Probability Estimates for Multi-class Classification by Pairwise Coupling",
Journal of Machine Learning Research 5, 975-1005, https://www.jmlr.org/papers/v5/wu04a.html
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from itertools import combinations, product
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.svm import SVC
from torch import Tensor, nn

from data_modules.utils.progress import progress
from fer_lightning.layers.scaling import RangeScaler

Kernel = Literal["gaussian", "linear"]
COSTS = (0.1, 1.0, 10.0, 100.0)
WIDTHS = (0.1, 0.3, 1.0, 3.0)
FOLDS = 5
LEAST = 1e-7  # probability of a class that was not fitted, and lowest probability in a pair of classes


class SupportVectorMachine(nn.Module):
    """scikit-learn's SVC with its arrays in buffers, and with probabilities that may be averaged over a clip's windows.

    [our choice] The default kernel is Gaussian. C and the kernel's width are those with the highest accuracy in
    cross-validation over folds that share no subject. Among equal ones the smallest C is taken, then the smallest
    width. A sigmoid for each pair of classes, fitted to the vectors left out in cross-validation (Platt, 1999), turns
    the pair's decision value into a probability, and the pairs are coupled by the second approach of Wu et al. (2004).
    Votes of the pairs, which decide in scikit-learn, say too little of a window to be averaged.

    Args:
        num_classes: Number of classes C of the scores.
        costs: Candidates for the cost C.
        widths: Candidates for gamma, as multiples of 1 / (features x variance).
        kernel: `gaussian` for exp(-gamma |x - y|²), or `linear` for gamma x·y, where gamma and C have the same effect
            and only one width is accepted.

    Raises:
        ValueError: The kernel is unknown, there are no candidates, or a linear kernel has several widths.
    """

    classes: Tensor  # (K,) classes that were fitted
    support: Tensor  # (S, D) scaled support vectors
    coefficients: Tensor  # (K (K - 1) / 2, S) for each pair of classes
    intercepts: Tensor  # (K (K - 1) / 2,) for each pair of classes
    slopes: Tensor  # (K (K - 1) / 2,) of each pair's sigmoid
    offsets: Tensor  # (K (K - 1) / 2,) of each pair's sigmoid
    gamma: Tensor  # () factor of the kernel

    def __init__(
        self,
        num_classes: int,
        costs: Sequence[float] = COSTS,
        widths: Sequence[float] = WIDTHS,
        kernel: Kernel = "gaussian",
    ) -> None:
        super().__init__()
        if kernel not in get_args(Kernel):
            raise ValueError(f"expected the kernel {' or '.join(get_args(Kernel))}; found {kernel!r}")
        if not costs or not widths:
            raise ValueError(f"expected at least one C and one width; found costs {costs} and widths {widths}")
        if kernel == "linear" and len(widths) > 1:
            raise ValueError(f"a linear kernel has one width, [1]: its C does the same; found widths {list(widths)}")
        self.kernel = kernel
        self.num_classes = num_classes
        self.costs, self.widths = tuple(sorted(costs)), tuple(sorted(widths))
        self.scaler = RangeScaler(0)
        self.register_buffer("classes", torch.zeros(0, dtype=torch.int64))
        # In float32, rounding errors of sums over many support vectors could change the predicted class.
        for name in ("support", "coefficients"):
            self.register_buffer(name, torch.zeros((0, 0), dtype=torch.float64))
        for name in ("intercepts", "slopes", "offsets"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.float64))
        self.register_buffer("gamma", torch.ones((), dtype=torch.float64))

    def fit(self, x: Tensor, y: Tensor, groups: Sequence[str], balanced: bool = False) -> None:
        """Fit scaler, support vector machine and sigmoids. The fit is deterministic.

        Args:
            x: Unscaled vectors (M, D).
            y: Indices of their classes (M,).
            groups: Names of their subjects or films (M). Folds share no group.
            balanced: Weigh classes inversely to their frequency.

        Raises:
            ValueError: There are fewer than two classes or fewer than two groups.
        """
        labels = y.cpu().numpy()
        counts = Counter(labels.tolist())
        num_folds = min(FOLDS, len(set(groups)), max(counts.values(), default=0))
        if len(counts) < 2 or num_folds < 2:
            raise ValueError(
                f"a support vector machine needs clips of two classes and of two subjects; found {len(labels)} clips "
                f"of {len(counts)} classes and {len(set(groups))} subjects"
            )
        self.scaler.fit(x)
        scaled = self.scaler(x.to(self.scaler.low)).double().cpu().numpy()
        folds = _folds(labels, groups, num_folds)
        settings = list(product(self.costs, self.widths))
        best = (-1.0, settings[0], np.zeros((0, 0)))
        with progress("choosing C and gamma", len(settings), transient=True) as advance:
            for done, setting in enumerate(settings, start=1):
                values = self._cross_validate(scaled, labels, folds, setting, balanced)  # (M, pairs)
                accuracy = float((_winners(values, np.unique(labels)) == labels).mean())
                best = max(best, (accuracy, setting, values), key=lambda result: result[0])  # the first of equal ones
                advance(done)
        self._store(self._svc(best[1], balanced, scaled).fit(scaled, labels))
        slopes, offsets = _sigmoids(best[2], labels, balanced)
        self.slopes = torch.tensor(slopes, device=self.support.device)
        self.offsets = torch.tensor(offsets, device=self.support.device)

    def _cross_validate(
        self,
        x: NDArray[np.float64],
        y: NDArray[np.int64],
        folds: Sequence[NDArray[np.int64]],
        setting: tuple[float, float],
        balanced: bool,
    ) -> NDArray[np.float64]:
        """Return each vector's pair values (M, pairs) by a machine that was fitted to the other folds.

        They are NaN for pairs of which a class is missing in the other folds.
        """
        pairs = list(combinations(np.unique(y), 2))
        values = np.full((len(y), len(pairs)), np.nan)
        for test in folds:
            train = np.setdiff1d(np.arange(len(y)), test)
            found = np.unique(y[train])
            if len(found) > 1:
                self._store(self._svc(setting, balanced, x[train]).fit(x[train], y[train]))
                columns = np.array([pairs.index(pair) for pair in combinations(found, 2)])
                values[np.ix_(test, columns)] = self._pair_values(torch.from_numpy(x[test]).to(self.support)).cpu()
        return values

    def _svc(self, setting: tuple[float, float], balanced: bool, x: NDArray[np.float64]) -> SVC:
        cost, width = setting
        gamma = width / (x.shape[1] * (x.var() or 1.0))
        kernel = "rbf" if self.kernel == "gaussian" else "poly"  # of degree 1, which is linear but has gamma
        weights = "balanced" if balanced else None
        return SVC(C=cost, kernel=kernel, degree=1, gamma=gamma, class_weight=weights, cache_size=500)

    def _store(self, svc: SVC) -> None:
        """Store what scikit-learn fitted in the buffers, with one row of coefficients for each pair of classes."""
        classes: NDArray[np.int64] = svc.classes_
        pairs = list(combinations(range(len(classes)), 2))
        owner = np.repeat(np.arange(len(classes)), svc.n_support_)  # (S,) class of each support vector
        coefficients = np.zeros((len(pairs), len(owner)))
        for row, (first, second) in enumerate(pairs):  # row k of dual_coef_ is against the k-th of the other classes
            coefficients[row, owner == first] = svc.dual_coef_[second - 1, owner == first]
            coefficients[row, owner == second] = svc.dual_coef_[first, owner == second]
        sign = -1 if len(pairs) == 1 else 1  # with two classes, scikit-learn's sign is that of the second
        device = self.support.device
        self.classes = torch.tensor(classes, device=device)
        self.support = torch.tensor(svc.support_vectors_, device=device)
        self.coefficients = torch.tensor(sign * coefficients, device=device)
        self.intercepts = torch.tensor(sign * svc.intercept_, device=device)
        self.gamma.fill_(svc.gamma)

    def _pair_values(self, x: Tensor) -> Tensor:
        """Compute each pair's decision value: scaled vectors (B, D) -> (B, pairs), positive for the first class."""
        return self._kernel_values(x) @ self.coefficients.T + self.intercepts

    def _kernel_values(self, x: Tensor) -> Tensor:
        """Compute the kernel between scaled vectors (B, D) and the support vectors: (B, S)."""
        products = x @ self.support.T
        if self.kernel == "linear":
            return self.gamma * products
        squares = x.square().sum(dim=1, keepdim=True) + self.support.square().sum(dim=1)
        return (-self.gamma * (squares - 2 * products).clamp_min(0)).exp()

    def pair_values(self, x: Tensor) -> Tensor:
        """Compute the decision values of the pairs of classes as scikit-learn's "ovo": (B, D) -> (B, K (K - 1) / 2).

        The vectors are unscaled, the values float64, the pairs in the order (0, 1), (0, 2), ..., (K - 2, K - 1).

        Raises:
            ValueError: The machine is not fitted yet.
        """
        if not len(self.support):
            raise ValueError("the support vector machine is not fitted: train it, or load a run's checkpoint")
        with torch.autocast(x.device.type, enabled=False):
            return self._pair_values(self.scaler(x.to(self.scaler.low)).to(self.support))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logarithms of the probabilities of unscaled vectors: (B, D) -> (B, C) in float32."""
        values = self.pair_values(x)
        with torch.autocast(x.device.type, enabled=False):
            pairs = torch.sigmoid(self.slopes * values + self.offsets).clamp(LEAST, 1 - LEAST)
            probabilities = values.new_full((len(x), self.num_classes), LEAST)
            probabilities[:, self.classes] = couple(pairs, len(self.classes)).clamp_min(LEAST)
        return probabilities.log().float()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Resize the buffers to the number of support vectors in the state dict, then load it."""
        for name, buffer in self.named_buffers():
            if prefix + name in state_dict:
                buffer.resize_(state_dict[prefix + name].shape)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _folds(y: NDArray[np.int64], groups: Sequence[str], num_folds: int) -> list[NDArray[np.int64]]:
    """Return the indices of each fold's test vectors, stratified by class, with no group in two folds."""
    splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=0)
    with warnings.catch_warnings():  # a class with fewer vectors than folds is missing in some of them
        warnings.filterwarnings("ignore", message="The least populated class")
        return [test for _, test in splitter.split(y, y, list(groups)) if len(test)]


def _winners(values: NDArray[np.float64], classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the class with most votes (M,) by the pairs of K classes (M, pairs); the first of equal ones."""
    first, second = np.eye(len(classes))[np.array(np.triu_indices(len(classes), 1))]  # (pairs, K) each
    winners: NDArray[np.int64] = classes[((values >= 0) @ first + (values < 0) @ second).argmax(axis=1)]
    return winners


def _sigmoids(values: NDArray[np.float64], y: NDArray[np.int64], balanced: bool) -> NDArray[np.float64]:
    """Fit the probability of each pair's first class, sigmoid(slope x value + offset), to left-out vectors.

    As Platt (1999) does, the targets are (N + 1) / (N + 2) and 1 / (N + 2) for N vectors of the class, not 1 and 0.
    Slope 1 and offset 0 remain where the vectors of a pair are all of one class.

    Args:
        values: Pair values (M, pairs), NaN where a pair was not fitted.
        y: Indices of the classes (M,).
        balanced: Whether the two classes of a pair have the same weight.

    Returns:
        Slopes and offsets (2, pairs).
    """
    sigmoids = np.stack([np.ones(values.shape[1]), np.zeros(values.shape[1])])
    for column, pair in enumerate(combinations(np.unique(y), 2)):
        known = np.isin(y, pair) & ~np.isnan(values[:, column])
        x, is_first = values[known, column], y[known] == pair[0]
        counts = np.where(is_first, is_first.sum(), (~is_first).sum())  # (N,) vectors of the same class
        if len(set(is_first)) == 2:
            right = (counts + 1) / (counts + 2)
            targets = np.where(is_first, right, 1 - right)
            weights = 1 / counts if balanced else np.ones(len(x))
            # each vector takes part as both classes, and the targets are the weights
            labels = np.repeat([1, 0], len(x))
            fit = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(
                np.tile(x, 2)[:, None], labels, np.concatenate([weights * targets, weights * (1 - targets)])
            )
            sigmoids[:, column] = fit.coef_.item(), fit.intercept_.item()
    return sigmoids


def couple(pairs: Tensor, num_classes: int) -> Tensor:
    """Couple the probabilities of pairs of classes into those of the classes, the second approach of Wu et al. (2004).

    Args:
        pairs: Probabilities r_ij of class i against class j, for i < j (B, K (K - 1) / 2), above 0 and below 1.
        num_classes: Number of classes K.

    Returns:
        Probabilities p (B, K), with a sum of 1 and the least sum over i and j of (r_ji p_i - r_ij p_j)².
    """
    first, second = torch.triu_indices(num_classes, num_classes, offset=1, device=pairs.device)
    r = pairs.new_zeros(len(pairs), num_classes, num_classes)
    r[:, first, second], r[:, second, first] = pairs, 1 - pairs
    q = torch.diag_embed(r.square().sum(dim=1)) - r * r.transpose(1, 2)  # the sum over i and j is 2 pᵀ q p
    p = _solve_ones(q + 1)  # at its minimum, q p has the same value for all classes; so has (q + 1) p, as p sums to 1
    return p / p.sum(dim=1, keepdim=True)


def _solve_ones(matrices: Tensor) -> Tensor:
    """Solve A x = 1 for symmetric positive definite A: (B, K, K) -> (B, K).

    By Gauss and Jordan's elimination, since `torch.linalg.solve` cannot be written to ONNX files.
    """
    size = matrices.shape[1]
    rows = torch.cat([matrices, torch.ones_like(matrices[:, :, :1])], dim=2)
    for place, is_pivot in enumerate(torch.eye(size, dtype=torch.bool, device=matrices.device)[..., None]):
        pivot = rows[:, place : place + 1] / rows[:, place : place + 1, place : place + 1]
        rows = torch.where(is_pivot, pivot, rows - rows[:, :, place : place + 1] * pivot)
    return rows[:, :, -1]
