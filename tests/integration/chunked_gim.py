"""`python -m tests.integration.chunked_gim`: `gim` with two pairs in each object of predictions, in workers too."""

from gim.evaluation import passes

PAIRS = 2

if __name__ in ("__main__", "__mp_main__"):  # as spawned processes import it
    passes.CHUNK = PAIRS

if __name__ == "__main__":
    from gim.cli.main import main

    main()
