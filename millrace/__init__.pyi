# The public names, each from the module that defines it: what a stage of one's own is written with.

from .contracts.events import EmbeddingReady as EmbeddingReady
from .contracts.events import Event as Event
from .contracts.events import MediaReady as MediaReady
from .contracts.events import ResultEvent as ResultEvent
from .contracts.events import Segment as Segment
from .contracts.events import ShareCreated as ShareCreated
from .contracts.events import ShareEvent as ShareEvent
from .contracts.events import SkippableEvent as SkippableEvent
from .contracts.events import SummaryReady as SummaryReady
from .contracts.events import TranscriptReady as TranscriptReady
from .contracts.events import Word as Word
from .errors import ConfigurationError as ConfigurationError
from .errors import Denied as Denied
from .errors import MillraceError as MillraceError
from .errors import Poison as Poison
from .errors import Retryable as Retryable
from .errors import Skipped as Skipped
from .errors import Unavailable as Unavailable
from .errors import UnknownOutcome as UnknownOutcome
from .ids import WorkKey as WorkKey
from .ids import content_hash as content_hash
from .models.build import open_chats as open_chats
from .models.build import open_embeddings as open_embeddings
from .models.chat import DOCUMENT_IS_DATA as DOCUMENT_IS_DATA
from .models.chat import Chat as Chat
from .models.chat import ChatAnswer as ChatAnswer
from .models.chat import Question as Question
from .models.child.pool import ChildPool as ChildPool
from .models.child.pool import open_children as open_children
from .models.child.process import Recipe as Recipe
from .models.choice import Models as Models
from .models.port import EmbeddingModel as EmbeddingModel
from .models.port import Paid as Paid
from .models.port import Tariff as Tariff
from .models.port import Use as Use
from .models.settings import ChatSettings as ChatSettings
from .models.settings import ChildSettings as ChildSettings
from .models.settings import EmbeddingSettings as EmbeddingSettings
from .models.tariffs import PerSecond as PerSecond
from .money import MicroUSD as MicroUSD
from .money import cost_of as cost_of
from .settings import StageSettings as StageSettings
from .store.blobs import BlobStore as BlobStore
from .store.database import Database as Database
from .stream.agent import Agent as Agent
from .stream.connect import Resources as Resources
from .stream.stage import MODEL_OPTION as MODEL_OPTION
from .stream.stage import Finished as Finished
from .stream.stage import Plan as Plan
from .stream.stage import Run as Run
from .stream.stage import StageHandler as StageHandler
from .stream.stage import StageSpec as StageSpec

__version__: str
__all__: list[str]
