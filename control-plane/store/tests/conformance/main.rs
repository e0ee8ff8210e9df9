//! What every engine must do, in one suite: each engine is a word at the end of this file.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end")]

mod access;
mod alerts;
mod audit;
mod audit_records;
mod authority;
mod blobs;
mod bundles;
mod catalogue;
mod commands;
mod desired;
mod events;
mod feed;
mod groups;
mod harness;
mod histories;
mod join_tokens;
mod leases;
mod nodes;
mod operations;
mod races;
mod replicas;
mod rollouts;
mod samples;
mod schedules;
mod secrets;
mod workload_issuers;
mod writes;

/// Makes a test of each function, on one engine.
macro_rules! suite {
    ($engine:ty: $($room:ident { $($test:ident),* $(,)? })*) => {
        $(mod $room { $(
            #[test]
            fn $test() {
                crate::$room::$test(&<$engine as crate::harness::Database>::make());
            }
        )* })*
    };
}

macro_rules! suite_on {
    ($($name:ident: $engine:ty),*) => { $(mod $name {
        suite! { $engine:
            access { callers_are_put_and_replaced, bindings_are_put_listed_and_deleted, meta_says_what_it_is }
            audit {
                chains_hold_and_are_listed_the_newest_first, a_write_without_its_entry_is_refused, a_refused_call_leaves_an_entry,
                a_tampered_entry_is_found,
            }
            workload_issuers { issuers_of_programs_are_replaced_together }
            authority {
                slots_and_their_version_are_kept_together, a_revocation_is_made_once_and_taken_back,
                trust_recoveries_and_quarantine_of_a_node_are_kept, nodes_are_counted_by_what_they_hold_and_acknowledged,
                keys_of_slots_are_kept_while_they_are_trusted,
            }
            audit_records {
                every_combination_of_filters_lists_what_it_should, filters_follow_as_they_list,
                times_of_a_clock_that_went_back_are_found, nonsense_in_a_field_is_harmless,
                checkpoints_come_back_once, only_what_is_there_is_signed, records_come_in_order_piece_by_piece,
                every_kind_of_tampering_is_named, what_was_changed_since_a_checkpoint_is_found, a_cut_end_is_found_from_elsewhere,
            }
            blobs {
                only_what_is_here_is_listed, a_blob_moves_only_from_where_it_is,
                a_blob_is_free_when_its_last_referrer_is_gone, what_is_referred_to_is_not_forgotten,
                uploads_are_kept_until_their_end_and_counted_once, an_upload_that_goes_on_is_not_given_up,
            }
            alerts {
                rules_receivers_and_silences_come_back, an_alert_is_open_once_and_changes_from_what_was_read,
                deliveries_are_due_in_order_until_they_are_dead_and_come_back, what_is_over_goes_with_what_was_to_be_told,
            }
            bundles { versions_come_newest_first, a_deleted_version_is_not_given_again, a_version_is_never_replaced }
            catalogue {
                a_state_of_the_repository_takes_the_place_of_the_one_before, targets_are_replaced_together,
                versions_of_extensions_keep_their_numbers_and_their_secrets, releases_are_withdrawn_and_come_back,
                assignments_give_extensions_and_releases,
            }
            commands {
                open_commands_are_found, a_command_keeps_every_field, output_knows_its_place,
                the_end_of_a_stream_is_a_number_whatever_was_cut,
            }
            desired {
                versions_of_profiles_come_newest_first, a_version_of_a_profile_is_neither_replaced_nor_given_again,
                assignments_come_back, marks_rise_with_their_writes,
            }
            events {
                events_come_back_and_are_listed_the_newest_first, every_filter_finds_what_it_should,
                a_watcher_is_told_each_once_and_what_grows_again, what_is_old_or_too_much_goes_and_raises_the_floor,
            }
            feed {
                a_write_is_on_it_once, it_misses_nothing_of_concurrent_writers,
                it_misses_nothing_of_slow_writers_and_of_those_that_give_up, a_revision_is_never_cut,
                pruning_raises_the_floor,
            }
            histories {
                one_ends_where_the_store_is_and_the_next_begins, what_may_be_overwritten_stays_with_its_node,
                no_time_up_to_a_restore_is_made_up_for,
            }
            groups { groups_come_back_and_are_on_the_feed }
            leases {
                leases_come_back_and_are_on_the_feed, places_are_counted_from_what_is_in_flight,
                what_is_superseded_and_what_is_retried_is_found,
            }
            join_tokens {
                tokens_come_back, tokens_end_once, requests_come_back_and_are_decided, requests_go_with_their_end,
                a_token_is_spent_once_until_it_has_run_out,
            }
            nodes {
                a_node_comes_back_whole, parts_are_written_apart, a_removed_node_stays_known, pages_cover_all_once,
                certificates_are_issued_and_promoted, items_go_to_their_own_nodes,
            }
            replicas {
                replicas_beat_end_and_are_lost_by_their_last_beat, nodes_are_held_by_one_and_free_when_it_is_lost,
                what_nodes_tell_is_read_from_one_revision_to_another,
            }
            rollouts {
                rollouts_come_back_and_a_request_makes_one, a_node_has_one_touch_by_each_assignment_and_loses_it_with_itself,
                the_brake_of_all_rollouts_is_pulled_and_let_go,
            }
            secrets { contents_belong_to_versions_and_go_with_the_last, contents_are_found_by_key_and_change_it }
            operations { operations_come_back, counts_follow_commands, a_request_id_is_taken_once, what_ended_long_ago_goes_in_steps, room_for_output_is_used_up, the_newest_that_ended_are_known }
            schedules { schedules_come_back_and_are_on_the_feed, a_time_is_done_with_once_and_the_last_operation_is_known, a_clock_begins_once_and_ends, times_of_long_ago_and_too_many_go }
            races { a_token_is_used_no_more_than_it_may, handles_hear_of_each_other, an_etag_lets_one_of_two_through }
            writes {
                a_failing_write_leaves_the_others, a_panic_harms_nobody, a_swallowed_failure_is_not_committed,
                a_full_queue_is_an_answer, what_changed_nothing_takes_no_revision, closing_keeps_what_was_handed_in,
                reads_see_one_state, whoever_asked_is_told_what_the_store_does,
            }
        }
    })* };
}

suite_on! { on_sqlite: crate::harness::SqliteFile, on_postgres: crate::harness::PostgresDatabase }
