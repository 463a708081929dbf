"""A lab that is trained in seconds; conftest makes its models once for all tests of a process."""
from rlvd_nb.tasks.kinship import task as kinship
from rlvd_nb.models.word_models import LabModelConfig
from rlvd_nb.training.pretraining import PretrainConfig

TASK = kinship(entities=30, train_questions=32, test_questions=30)
SIZE = LabModelConfig(width=32, layers=1, heads=2, hidden=32)
BRIEF = PretrainConfig(steps=60, texts=2000, rows=8, checkpoint=20, warmup=5)
