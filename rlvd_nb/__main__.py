"The `rlvd` command as a module: python -m rlvd_nb."
from rlvd_nb.paper.report import main

if __name__ == "__main__": main()
