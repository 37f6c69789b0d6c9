"""`allocations`: for each allocation, one row that combines the values of all its versions and sources."""

import pytest

from history import HOUR, History, ns, time


@pytest.fixture
def history():
    return History()


def test_none(ask, history):
    assert ask(history, "allocations") == []


def test_one_version(ask_one, history):
    history.allocation(name="shop.web[0]", alloc_index=0, node_id="n1", eval_id="e1")
    row = ask_one(history, "allocations")
    assert (row["region"], row["namespace"], row["job_id"], row["task_group"], row["alloc_id"]) == ("", "default", "shop", "web", "a")
    assert (row["name"], row["alloc_index"], row["node_id"], row["eval_id"]) == ("shop.web[0]", 0, "n1", "e1")
    assert (row["created_at"], row["created_at_ns"]) == (time(0), ns(0))
    assert row["node_class"] is None and row["datacenter"] is None and row["deployment_healthy"] is None


def test_all_null(ask_one, history):
    history.add("allocation_history", {"region": "", "namespace": "default", "alloc_id": "a", "shape": "stub"})
    row = ask_one(history, "allocations")
    not_null = {column for column, value in row.items() if value is not None}
    assert not_null == {"region", "namespace", "alloc_id", "vanished"}
    assert row["vanished"] is False


def test_stub_full_and_stream_are_combined(ask_one, history):
    history.allocation(shape="stub", job_type="service", job_version=3, node_name="alpha", next_allocation="c")
    history.allocation(shape="full", job_type="service", job_version=3, previous_allocation="b", deployment_id="d",
                       cpu_shares=500, memory_mb=256)
    history.allocation(shape="stream", node_name="alpha", previous_allocation="b", deployment_id="d", next_allocation="c")
    row = ask_one(history, "allocations")
    assert (row["job_type"], row["job_version"], row["node_name"]) == ("service", 3, "alpha")
    assert (row["previous_allocation"], row["next_allocation"], row["deployment_id"]) == ("b", "c", "d")
    assert (row["cpu_shares"], row["memory_mb"], row["disk_mb"]) == (500, 256, None)


def test_constants_are_kept_when_the_newest_version_lacks_them(ask_one, history):
    history.allocation(index=10, shape="stub", job_type="batch", job_version=1)
    history.allocation(index=20, shape="stream", job_id=None, task_group=None, created_at_ns=None, client_status="complete")
    row = ask_one(history, "allocations")
    assert (row["job_id"], row["task_group"], row["job_type"], row["created_at"]) == ("shop", "web", "batch", time(0))
    assert (row["client_status"], row["modify_index"]) == ("complete", 20)


def test_changing_fields_come_from_the_newest_version_even_if_null(ask_one, history):
    history.allocation(index=10, desired_description="alloc is being migrated", followup_eval_id="f", desired_migrate=True)
    history.allocation(index=20)
    row = ask_one(history, "allocations")
    assert (row["desired_description"], row["followup_eval_id"], row["desired_migrate"]) == (None, None, None)


def test_among_rows_of_the_newest_version_a_value_wins_over_null(ask_one, history):
    # The listing has the desired transition. The full allocation that the `nomad` command prints lacks it.
    history.allocation(index=20, desired_migrate=True)
    history.allocation(index=20, shape="full", deployment_healthy=True, deployment_healthy_at_ns=ns(60), canary=False)
    row = ask_one(history, "allocations")
    assert (row["desired_migrate"], row["deployment_healthy"], row["canary"]) == (True, True, False)
    assert (row["deployment_healthy_at"], row["deployment_healthy_at_ns"]) == (time(60), ns(60))


def test_job_version_comes_from_the_newest_version_that_has_it(ask_one, history):
    # A job that was purged and registered again counts its versions from 0, so the largest version may be an old one.
    history.allocation(index=10, job_version=4)
    history.allocation(index=20, job_version=2)
    history.allocation(index=30, shape="stream", job_version=None)
    assert ask_one(history, "allocations")["job_version"] == 2


def test_no_status_is_final(ask_one, history):
    history.allocation(index=10, client_status="running")
    history.allocation(index=20, client_status="lost", desired_status="stop")
    history.allocation(index=30, client_status="complete", desired_status="stop")
    assert ask_one(history, "allocations")["client_status"] == "complete"


def test_order_of_rows_does_not_matter(ask_one, history):
    history.allocation(index=30, client_status="complete")
    history.allocation(index=10, client_status="pending")
    history.allocation(index=20, client_status="running")
    assert ask_one(history, "allocations")["client_status"] == "complete"


def test_versions_with_an_index_reused_after_a_restore_are_ordered_by_modified_at(ask_one, history):
    history.allocation(index=20, modified_at_ns=ns(900), client_status="running", desired_description=None)
    history.allocation(index=20, modified_at_ns=ns(100), client_status="pending", desired_description="old")
    row = ask_one(history, "allocations")
    assert (row["client_status"], row["desired_description"], row["modified_at"]) == ("running", None, time(900))


def test_versions_without_an_index_are_ordered_by_modified_at(ask_one, history):
    history.allocation(index=None, modified_at_ns=ns(1), client_status="pending")
    history.allocation(index=None, modified_at_ns=ns(2), client_status="running")
    row = ask_one(history, "allocations")
    assert (row["client_status"], row["modify_index"]) == ("running", None)


def test_one_version_with_exact_and_with_rounded_time_is_one_version(ask_one, history):
    exact = ns(5) + 1
    history.allocation(index=20, modified_at_ns=exact, desired_migrate=True)
    history.allocation(index=20, modified_at_ns=int(float(exact)), canary=True)
    row = ask_one(history, "allocations")
    assert (row["desired_migrate"], row["canary"]) == (True, True)


def test_one_allocation_id_in_two_regions_is_two_allocations(ask, history):
    history.allocation(region="eu", client_status="running", index=20)
    history.allocation(region="us", client_status="failed", index=10)
    history.sighting(30, region="eu")
    rows = ask(history, "allocations")
    assert [(row["region"], row["client_status"], row["last_seen_at"]) for row in rows] == [
        ("eu", "running", time(30)), ("us", "failed", time(0))]


def test_a_source_without_namespaces_does_not_make_two_allocations(ask_one, history):
    history.allocation(index=10, namespace="prod")
    history.allocation(index=20, namespace="default")
    assert ask_one(history, "allocations")["namespace"] == "prod"


def test_rows_are_sorted_by_group_with_nulls_last(ask, history):
    history.allocation("e", job_id=None, task_group=None)
    history.allocation("d", task_group=None)
    history.allocation("c", task_group="web")
    history.allocation("b", task_group="db")
    history.allocation("a", namespace="prod", job_id="bar")
    assert [row["alloc_id"] for row in ask(history, "allocations")] == ["b", "c", "d", "e", "a"]


class TestNodes:
    def test_class_and_data_centre_come_from_the_newest_version_of_the_node(self, ask_one, history):
        history.allocation(node_id="n1", node_name="alpha")
        history.add("nodes", {"region": "", "node_id": "n1", "node_name": "beta", "node_class": "big", "datacenter": "dc2", "modify_index": 9})
        history.add("nodes", {"region": "", "node_id": "n1", "node_name": "beta", "node_class": "small", "datacenter": "dc3", "modify_index": 8})
        row = ask_one(history, "allocations")
        assert (row["node_name"], row["node_class"], row["datacenter"]) == ("alpha", "big", "dc2")

    def test_name_comes_from_the_node_when_no_allocation_has_it(self, ask_one, history):
        history.allocation(node_id="n1")
        history.add("nodes", {"region": "", "node_id": "n1", "node_name": "beta", "modify_index": 9})
        row = ask_one(history, "allocations")
        assert (row["node_name"], row["node_class"], row["datacenter"]) == ("beta", None, None)

    def test_among_rows_of_one_version_a_value_wins_over_null(self, ask_one, history):
        history.allocation(node_id="n1")
        history.add("nodes", {"region": "", "node_id": "n1", "node_class": "big", "modify_index": 9, "status": "ready"})
        history.add("nodes", {"region": "", "node_id": "n1", "datacenter": "dc1", "modify_index": 9})
        row = ask_one(history, "allocations")
        assert (row["node_class"], row["datacenter"]) == ("big", "dc1")

    def test_a_node_of_another_region_is_another_node(self, ask_one, history):
        history.allocation(region="eu", node_id="n1")
        history.add("nodes", {"region": "us", "node_id": "n1", "datacenter": "dc1", "modify_index": 9})
        assert ask_one(history, "allocations")["datacenter"] is None


class TestLastSeen:
    """last_seen_at is the latest of all sightings and modified_at.

    For a live allocation, the full listings in the hour of its last sighting count, too.
    """

    def last_seen(self, ask_one, history):
        row = ask_one(history, "allocations")
        assert row["last_seen_at"] == time((row["last_seen_at_ns"] - ns(0)) / 10**9)
        return (row["last_seen_at_ns"] - ns(0)) / 10**9

    def test_modified_at_without_a_sighting(self, ask_one, history):
        history.allocation(client_status="complete", modified_at_ns=ns(70))
        assert self.last_seen(ask_one, history) == 70

    def test_without_any_time(self, ask_one, history):
        history.allocation(modified_at_ns=None)
        assert ask_one(history, "allocations")["last_seen_at"] is None

    def test_latest_sighting(self, ask_one, history):
        history.allocation()
        history.sighting(HOUR)
        history.sighting(3 * HOUR)
        history.sighting(2 * HOUR)
        assert self.last_seen(ask_one, history) == 3 * HOUR

    def test_modified_at_after_the_sighting_truncated_to_the_hour(self, ask_one, history):
        history.allocation(modified_at_ns=ns(100))
        history.sighting(0)
        assert self.last_seen(ask_one, history) == 100

    def test_modified_at_of_an_older_index_may_be_the_latest(self, ask_one, history):
        history.allocation(index=10, modified_at_ns=ns(200))
        history.allocation(index=20, modified_at_ns=ns(100))
        row = ask_one(history, "allocations")
        assert (row["modified_at"], row["last_seen_at"]) == (time(100), time(200))

    def test_full_listings_within_the_hour_of_the_last_sighting(self, ask_one, history):
        history.allocation()
        history.sighting(0)
        history.listing(600)
        history.listing(1800)
        assert self.last_seen(ask_one, history) == 1800

    def test_not_a_listing_of_a_later_hour(self, ask_one, history):
        history.allocation()
        history.sighting(0)
        history.listing(HOUR)
        assert self.last_seen(ask_one, history) == 0

    def test_a_listing_in_the_last_nanosecond_of_the_hour(self, ask_one, history):
        history.allocation()
        history.sighting(0)
        history.add("snapshots", {"region": "", "content_hash": "x", "is_full_listing": True, "namespace": "*",
                                  "observed_at_ns": ns(HOUR) - 1, "absences_recorded": True})
        assert ask_one(history, "allocations")["last_seen_at_ns"] == ns(HOUR) - 1

    @pytest.mark.parametrize("status", ["complete", "failed", "lost"])
    def test_not_for_a_terminal_one(self, ask_one, history, status):
        history.allocation(index=20, client_status=status, modified_at_ns=ns(100))
        history.sighting(0)
        history.listing(1800)
        assert self.last_seen(ask_one, history) == 100

    @pytest.mark.parametrize("status", ["pending", "unknown", None])
    def test_for_a_live_one_of_any_status(self, ask_one, history, status):
        history.allocation(client_status=status)
        history.sighting(60)
        history.listing(1800)
        assert self.last_seen(ask_one, history) == 1800

    def test_a_partial_listing_leaves_it_unknown(self, ask_one, history):
        history.allocation()
        history.sighting(0)
        history.listing(600)
        history.listing(1800, full=False)
        row = ask_one(history, "allocations")
        assert (row["last_seen_at"], row["last_known_at"], row["vanished"]) == (None, time(600), False)

    def test_a_full_listing_after_a_partial_one(self, ask_one, history):
        history.allocation()
        history.sighting(0)
        history.listing(600, full=False)
        history.listing(1800)
        assert self.last_seen(ask_one, history) == 1800

    def test_every_sighting_of_a_pending_one_is_kept(self, ask_one, history):
        history.allocation(client_status="pending")
        history.sighting(60)
        history.listing(1800, full=False)
        assert self.last_seen(ask_one, history) == 60

    def test_the_last_sighting_by_partial_listings_of_one_run(self, ask_one, history):
        history.allocation()
        history.sighting(0)
        history.listing(600, full=False)
        history.listing(1800, full=False)
        history.absence(600, None)
        assert self.last_seen(ask_one, history) == 600

    def test_a_listing_of_its_own_namespace(self, ask_one, history):
        history.allocation(namespace="prod")
        history.sighting(0)
        history.listing(600, namespace="prod")
        history.listing(1800, namespace="default")
        assert self.last_seen(ask_one, history) == 600

    def test_a_listing_of_another_region(self, ask_one, history):
        history.allocation(region="eu")
        history.sighting(0, region="eu")
        history.listing(1800, region="us")
        assert self.last_seen(ask_one, history) == 0

    def test_a_listing_without_a_time(self, ask_one, history):
        history.allocation()
        history.sighting(0)
        history.listing(None)
        assert self.last_seen(ask_one, history) == 0


class TestVanished:
    def test_a_later_hour_lacks_it(self, ask_one, history):
        history.allocation()
        history.sighting(0)
        history.listing(HOUR)
        assert ask_one(history, "allocations")["vanished"]

    def vanished(self, ask_one, history):
        row = ask_one(history, "allocations")
        seen = row["last_seen_at_ns"]
        return row["vanished"], None if seen is None else (seen - ns(0)) / 10**9

    def test_not_by_a_listing_of_its_hour_without_an_absence(self, ask_one, history):
        history.allocation()
        history.sighting(0)
        history.listing(HOUR - 1)
        assert self.vanished(ask_one, history) == (False, HOUR - 1)

    def test_by_an_absence_within_the_hour(self, ask_one, history):
        history.allocation()
        history.sighting(0)
        for seconds in 600, 610, 620, 630:
            history.listing(seconds)
        history.absence(600, 630)
        history.absence(610, 620)
        assert self.vanished(ask_one, history) == (True, 610)

    def test_not_when_it_was_seen_again(self, ask_one, history):
        history.allocation()
        history.sighting(0)
        for seconds in 600, 610, 620, 630:
            history.listing(seconds)
        history.absence(600, 610)
        history.sighting(620)
        assert self.vanished(ask_one, history) == (False, 630)

    def test_the_last_document_is_unknown(self, ask_one, history):
        history.allocation()
        history.sighting(0)
        history.listing(600)
        history.listing(620)
        history.absence(None, 620)
        assert self.vanished(ask_one, history) == (True, None)
        history.listing(630, full=False)
        assert self.vanished(ask_one, history) == (None, None)
        history.listing(HOUR)
        assert self.vanished(ask_one, history) == (True, None)

    @pytest.mark.parametrize("listed, expected", [(9, (False, 620)), (10, (True, 600))])
    def test_a_listing_older_than_the_version_is_ignored(self, ask_one, history, listed, expected):
        history.allocation(index=10)
        history.sighting(0)
        history.listing(600, index=8)
        history.listing(620, index=listed)
        history.absence(600, 620, index=listed)
        assert self.vanished(ask_one, history) == expected

    @pytest.mark.parametrize("listed, expected", [(9, False), (10, True)])
    def test_a_listing_of_a_later_hour_that_is_older_than_the_version(self, ask_one, history, listed, expected):
        history.allocation(index=10, shape="stream", modified_at_ns=ns(HOUR - 1))
        history.sighting(0)
        history.listing(HOUR + 1, index=listed)
        assert self.vanished(ask_one, history)[0] is expected

    def test_clocks_decide_after_an_index_went_back(self, ask_one, history):
        history.allocation(index=100)
        history.sighting(0)
        history.listing(600, index=100)
        history.listing(2 * HOUR, index=50)
        assert self.vanished(ask_one, history) == (True, 600)

    def test_an_index_that_went_back_within_the_hour_makes_it_unknown(self, ask_one, history):
        history.allocation(index=100)
        history.sighting(0)
        history.listing(600, index=100)
        history.listing(620, index=50)
        history.absence(600, 620, index=50)
        assert self.vanished(ask_one, history)[0] is None

    @pytest.mark.parametrize("written, expected", [(610, True), (630, False)])
    def test_without_an_index_times_order_a_streamed_version_and_a_listing(self, ask_one, history, written, expected):
        history.allocation(shape="stream", modified_at_ns=ns(written))
        history.sighting(0)
        history.listing(620)
        history.absence(written if written < 620 else None, 620)
        assert self.vanished(ask_one, history)[0] is expected

    def test_listings_of_an_old_lake_record_no_absences(self, ask_one, history):
        history.allocation()
        history.sighting(0)
        history.listing(600, absences_recorded=None)
        history.listing(620, absences_recorded=None)
        assert self.vanished(ask_one, history) == (None, None)
        history.listing(630)
        assert self.vanished(ask_one, history) == (False, 630)

    def test_an_old_lake_detects_absence_in_a_later_hour(self, ask_one, history):
        history.allocation()
        history.sighting(0)
        history.listing(620, absences_recorded=None)
        history.listing(HOUR, absences_recorded=None)
        assert self.vanished(ask_one, history) == (True, None)

    def test_an_allocation_that_was_seen_to_end_did_not_vanish(self, ask_one, history):
        history.allocation(index=10)
        history.allocation(index=20, client_status="complete")
        history.sighting(0)
        history.listing(5 * HOUR)
        assert not ask_one(history, "allocations")["vanished"]

    def test_an_earlier_listing_does_not_show_that_it_vanished(self, ask_one, history):
        history.allocation()
        history.sighting(3 * HOUR)
        history.listing(HOUR)
        assert not ask_one(history, "allocations")["vanished"]

    @pytest.mark.parametrize("listing", [{"full": False}, {"namespace": "prod"}, {"region": "us"}])
    def test_a_listing_that_would_not_show_it_does_not_show_that_it_vanished(self, ask_one, history, listing):
        history.allocation()
        history.sighting(0)
        history.listing(5 * HOUR, **listing)
        assert not ask_one(history, "allocations")["vanished"]


class TestTrust:
    """The time of a document is ignored if it is long after the document's ingest."""

    def test_sightings_after_the_newest_observation_are_ignored(self, ask_one, history):
        history.allocation()
        history.sighting(0)
        history.sighting(48 * HOUR)
        history.listing(600, ingested_at_ns=ns(601))
        history.listing(48 * HOUR, ingested_at_ns=ns(602))
        row = ask_one(history, "allocations")
        assert (row["vanished"], row["last_seen_at"]) == (False, time(600))
        row = ask_one(history, "observations")
        assert (row["observed_at"], row["untrusted"], row["is_lower_bound"]) == (time(600), 1, False)

    def test_a_time_from_creation_times_only_is_a_lower_bound(self, ask_one, history):
        history.listing(600, observed_from="created")
        assert ask_one(history, "observations")["is_lower_bound"]
        history.listing(700, observed_from="content")
        assert not ask_one(history, "observations")["is_lower_bound"]


class TestLastListing:
    def test_a_listing_of_all_namespaces_counts_for_each_that_is_known(self, ask, history):
        history.allocation("a")
        history.allocation("b", namespace="prod")
        history.listing(60)
        history.listing(120, namespace="prod")
        rows = ask(history, "last_listing")
        assert sorted((row["namespace"], row["hour_ns"], row["last_listing_at"], row["last_listing_at_ns"]) for row in rows) == [
            ("default", ns(0), time(60), ns(60)), ("prod", ns(0), time(120), ns(120))]
