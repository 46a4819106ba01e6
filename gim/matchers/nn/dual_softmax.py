"""Mutual nearest neighbours under a dual soft-max, in bounded memory. Knows nothing of images."""

import torch

_BLOCK_BYTES = 16 * 1024**2  # of similarities worked on at a time: few enough for a processor's cache
_KEPT_BYTES = 1024**3  # similarities up to this size are kept between the two passes, larger ones computed twice


def match_dual_softmax(
    features0: torch.Tensor, features1: torch.Tensor, *, threshold: float, kept_bytes: int = _KEPT_BYTES
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pairs that are each other's most confident partner, one-to-one.

    The confidence is softmax over image 1 times softmax over image 0 (LoFTR, CVPR 2021, Eq. 2), computed as
    exp(2 s_ij - logsumexp_j s_ij - logsumexp_i s_ij) over blocks of rows, so that no matrix of confidences exists.

    Args:
        features0: [L, C], scaled so that the dot product is the similarity s over the temperature.
        features1: [S, C].
        threshold: smallest confidence, exclusive.
        kept_bytes: memory for similarities between the passes.

    Returns:
        Rows of features0 int64 [M], ascending; rows of features1 int64 [M], each once; confidence float32 [M].
    """
    features0, features1 = features0.float(), features1.float()
    num_rows, num_columns = len(features0), len(features1)
    if not num_rows or not num_columns:
        none = torch.empty(0, dtype=torch.int64, device=features0.device)
        return none, none, features0.new_empty(0)
    blocks = torch.split(features0, max(_BLOCK_BYTES // (4 * num_columns), 1))
    are_kept = 4 * num_rows * num_columns <= kept_bytes
    kept: list[torch.Tensor] = []

    row_normalisers = []
    peak = features0.new_full((num_columns,), -torch.inf)  # largest similarity of each column so far
    total = torch.zeros_like(peak)  # sum of exp(s - peak)
    for block in blocks:
        similarity = block @ features1.T
        row_normalisers.append(similarity.logsumexp(1))
        new_peak = torch.maximum(peak, similarity.amax(0))
        total = total * (peak - new_peak).exp() + (similarity - new_peak).exp_().sum(0)
        peak = new_peak
        if are_kept:
            kept.append(similarity)
    column_normaliser = peak + total.log()

    best, partners = [], []
    best_of_column = torch.full_like(peak, -torch.inf)
    for index, row_normaliser in enumerate(row_normalisers):
        similarity = kept[index] if are_kept else blocks[index] @ features1.T
        log_confidence = similarity.mul_(2).sub_(row_normaliser[:, None]).sub_(column_normaliser)
        values, columns = log_confidence.max(1)
        best.append(values)
        partners.append(columns)
        best_of_column = torch.maximum(best_of_column, log_confidence.amax(0))
    log_best, partner = torch.cat(best), torch.cat(partners)

    confidence = log_best.exp().clamp(max=1)
    is_mutual = (log_best == best_of_column[partner]) & (confidence > threshold)
    rows = torch.nonzero(is_mutual)[:, 0]
    columns = partner[rows]
    # Rows that tie for a column to the last bit are all its best; it goes to the first of them.
    first = torch.full((num_columns,), num_rows, device=rows.device).scatter_reduce_(0, columns, rows, "amin")
    rows = rows[first[columns] == rows]
    return rows, partner[rows], confidence[rows]
