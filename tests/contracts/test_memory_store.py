"""The memory store of the tests keeps the promises of the real one: the same tests, run on it.

And so does what passes every call on to it.
"""

import pytest
from contracts.test_objects import (  # noqa: F401 - collected from here
    test_a_file_is_sent_from_where_it_stands,
    test_a_key_the_store_cannot_have_is_the_items_fault,
    test_a_listing_is_in_order_below_the_prefix_and_after_the_start,
    test_a_listing_tells_what_head_tells_but_metadata,
    test_a_missing_bucket_raises_bucket_unavailable_with_the_call,
    test_an_error_of_the_caller_passes_through_an_open_object,
    test_an_open_object_tells_its_size_and_etag_before_it_is_read,
    test_an_open_object_that_is_not_read_can_be_opened_again,
    test_deleting_what_is_not_there_is_no_error,
    test_downloading_what_is_not_there_writes_nothing,
    test_getting_what_is_not_there_names_bucket_and_key,
    test_head_of_what_is_not_there_is_none,
    test_head_tells_size_tag_time_and_metadata,
    test_if_absent_writes_once,
    test_if_match_of_what_is_gone_fails_and_writes_nothing,
    test_if_match_replaces_only_what_it_saw,
    test_of_sixteen_writers_of_an_absent_key_one_wins,
    test_opening_an_object_that_does_not_exist_names_bucket_and_key,
    test_put_twice_keeps_the_last,
    test_what_is_downloaded_is_written_from_where_the_file_stands,
    test_what_is_put_can_be_got,
)
from support.memory_store import MemoryStore

from shared.objects import StoreWrapper


@pytest.fixture(params=[lambda memory: memory, StoreWrapper], ids=["itself", "behind another"])
def store(request):
    memory = MemoryStore()
    memory.missing.add("no-such-bucket")
    return request.param(memory)


@pytest.fixture
def bucket():
    return "bucket"
