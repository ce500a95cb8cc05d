//! Whole labs: brought up for real, asked, changed, broken, repaired and taken down, as root and as
//! ordinary users. Every test ends by asserting that nothing of its lab is left.
//!
//! The test program is also the stage program, hence no harness: it has to look whether it is a
//! stage before there are threads. Root runs it once more as each of two ordinary users, see
//! [`owner`]. Images are kept from one run to the next.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod child;
mod lab;
mod others;
mod owner;
mod traces;
mod world;

mod changes;
mod checks;
mod compose;
mod docker;
mod dynamic;
mod examples;
mod failures;
mod faults;
mod files;
mod firewalls;
mod images;
mod joins;
mod nesting;
mod node;
mod pki;
mod places;
mod process;
mod segments;
mod tunnels;
mod uplink;
mod volumes;
mod wireguard;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

/// The names of tests are those of their functions, after that of their file.
macro_rules! tests {
    ($($file:ident: $($name:ident)*;)*) => {
        vec![$($({
            let name = concat!(stringify!($file), "::", stringify!($name));
            Trial::test(name, || {
                $file::$name();
                Ok(())
            })
        },)*)*]
    };
}

fn main() -> ExitCode {
    netarium::run_if_stage();
    docker::name_the_engine();
    if let Some(code) = child::run_if_child().or_else(world::run_if_child) {
        return code;
    }
    others::name_the_settings();
    let mut arguments = Arguments::from_args();
    // Tests wait more than they compute.
    arguments.test_threads.get_or_insert(4);
    if world::is_inside() {
        return libtest_mimic::run(&arguments, tests_of_the_way_out()).exit_code();
    }
    let mut all = tests();
    let public = Arc::default();
    if rustix::process::geteuid().is_root() {
        let names: Vec<String> = all.iter().map(|trial| trial.name().to_owned()).collect();
        all.extend(tests_of_root());
        all.extend(tests_of_docker());
        all.extend(owner::as_users(&names, &public));
        let names = tests_of_the_way_out();
        let names: Vec<String> = names.iter().map(|trial| trial.name().to_owned()).collect();
        all.extend(world::trials(&names, &public));
    }
    let exit_code = libtest_mimic::run(&arguments, all).exit_code();
    others::forget_the_settings();
    exit_code
}

/// Those that take longest come first.
#[expect(clippy::too_many_lines, reason = "a list of tests is as long as it is")]
fn tests() -> Vec<Trial> {
    tests! {
        examples:
            all_labs_with_tunnels_are_up_at_the_same_time_and_pass_their_checks
            every_lab_comes_up_passes_its_checks_and_leaves_nothing
            both_tunnels_carry_http_and_the_internet_sees_nothing_but_ike_and_esp;
        tunnels:
            a_tunnel_that_cannot_stand_is_named_and_the_lab_undone
            a_killed_charon_comes_back_with_its_tunnel
            an_up_that_was_killed_while_tunnels_open_is_mended
            keys_are_readable_by_their_owner_only_and_new_in_each_lab
            a_node_of_an_image_is_confined_too;
        dynamic:
            a_lab_recovers_from_what_is_done_to_it_and_nothing_leaks
            what_leaks_while_a_lab_is_disturbed_is_found;
        checks:
            each_way_to_get_no_answer_and_each_source_is_told_from_the_others
            a_tunnel_is_as_its_daemons_tell_and_a_failure_shows_their_logs;
        pki:
            who_is_revoked_is_refused_until_renewed
            a_revocation_can_close_what_stands_and_who_is_not_revoked_is_renewed;
        joins:
            hosts_are_joined_whose_sites_have_the_same_addresses
            nothing_is_plain_while_a_daemon_is_dead
            both_families_go_through_both_to_several_peers_and_prefixes
            ends_that_are_hidden_or_share_a_secret_are_joined;
        faults:
            an_up_that_was_killed_is_told_mended_and_cleaned_away
            a_killed_init_is_seen_and_its_node_mended
            a_killed_service_is_started_again
            a_killed_keeper_is_seen_and_the_lab_mended
            a_lab_whose_keeper_was_killed_leaves_nothing_when_taken_down
            two_ups_at_the_same_time_both_succeed
            a_worker_ends_with_the_up_that_started_it;
        failures:
            a_service_that_cannot_start_is_named_and_the_lab_undone
            the_last_words_of_a_service_that_fails_are_kept
            a_change_that_fails_leaves_the_lab_as_it_was
            what_failed_can_be_kept_to_be_looked_at
            a_lab_file_with_mistakes_creates_nothing
            taking_down_what_is_not_up_does_nothing;
        process:
            nodes_start_when_those_they_come_after_are_as_they_want_them
            a_node_that_waits_in_vain_is_told_with_the_reason_and_the_lab_undone
            a_node_runs_what_is_said_and_is_called_as_is_said
            an_unhealthy_node_is_seen_and_left_to_get_well
            who_asks_for_time_to_end_gets_it_when_the_lab_or_the_node_goes;
        node:
            a_node_has_its_own_ids_and_granted_capabilities_only
            nodes_are_of_one_session_and_each_of_a_group_of_its_own
            a_node_cannot_mount_unshare_or_reach_the_machine
            a_node_is_called_by_its_own_name_and_knows_its_neighbours
            a_node_sees_its_own_devices_processes_and_interfaces_only
            what_a_node_writes_is_its_own
            the_files_of_a_lab_are_its_owners_alone;
        nesting:
            containers_in_a_node_are_apart_and_are_reached_through_its_ports
            containers_in_a_node_have_no_right_that_the_node_has_not
            without_nesting_a_container_is_refused_and_the_log_says_so;
        files:
            files_come_from_the_lab_file_and_its_folder
            a_source_that_changes_changes_its_file_only
            sources_that_are_missing_or_lead_out_are_named_with_their_place
            a_service_runs_as_its_user_and_has_no_capabilities
            a_user_that_a_node_does_not_have_is_named;
        volumes:
            volumes_with_names_are_shared_and_outlast_their_lab
            folders_of_the_host_are_read_only_unless_told;
        segments:
            macvlan_bridge_and_veth_carry_both_families
            what_the_kernel_learns_of_a_path_is_no_change
            interfaces_have_the_names_macs_and_mtus_of_the_file
            routes_end_where_the_file_says
            settings_of_the_kernel_are_those_of_the_file
            segments_are_out_of_reach_of_each_other_and_of_the_machine;
        changes:
            a_node_that_is_added_or_removed_leaves_the_others_alone
            an_address_a_route_and_an_mtu_are_changed_in_place
            a_service_is_added_changed_and_removed
            what_was_changed_by_hand_is_found_and_mended
            a_connection_through_an_untouched_node_survives
            a_cable_whose_end_changes_is_laid_anew;
        compose:
            a_test_bed_with_ipsec_runs_as_it_is
            test_beds_of_ipv6_and_without_addresses_run_as_they_are
            services_are_started_named_and_told_as_compose_does_it
            what_scripts_change_is_theirs_and_what_the_file_changes_is_made_anew;
        images:
            an_image_of_a_registry_runs_as_it_says_and_is_unpacked_once
            a_tag_means_what_it_meant_until_it_is_pulled_again
            a_mirror_is_asked_first_and_the_registry_for_what_that_has_not
            an_image_that_is_not_for_this_machine_or_not_there_is_told
            archives_run_as_they_say_and_anew_when_they_change
            links_of_an_image_lead_nowhere_outside;
        wireguard:
            a_killed_program_is_started_again_and_nothing_leaks_meanwhile
            what_was_changed_about_an_interface_is_seen_and_mended
            a_tunnel_that_cannot_stand_says_what_went_to_and_fro;
        firewalls:
            a_firewall_that_was_changed_by_hand_is_found_and_mended
            a_table_of_somebodys_own_is_left_alone
            a_firewall_that_is_replaced_is_never_open;
        places:
            two_labs_and_two_segments_may_have_the_same_prefix
            long_names_in_a_deep_folder_work
            labs_of_one_owner_are_listed_and_taken_down_apart;
    }
}

/// Each in a host and a world of its own, which only root can prepare.
fn tests_of_the_way_out() -> Vec<Trial> {
    tests! {
        uplink:
            nodes_reach_the_world_which_sees_one_address
            no_address_of_the_host_can_be_reached
            nodes_with_a_way_out_cannot_reach_each_other_over_it
            published_ports_lead_to_nodes
            a_port_that_is_taken_is_named_and_the_lab_undone
            what_is_published_can_be_changed_while_nodes_run
            a_killed_pasta_is_seen_and_mended
            a_killed_keeper_takes_pasta_with_it
            rules_that_were_changed_by_hand_are_seen_and_mended
            two_labs_get_out_at_the_same_time;
    }
}

/// With a Docker Engine of the tests' own, which belongs to root.
fn tests_of_docker() -> Vec<Trial> {
    tests! {
        docker:
            every_lab_is_the_same_on_docker
            a_container_that_docker_starts_again_gets_its_network_back
            a_watcher_that_was_killed_is_told_and_started_again
            an_up_that_was_killed_leaves_nothing_of_docker
            a_lab_whose_folder_was_lost_is_taken_down_all_the_same
            labs_with_the_same_prefixes_do_not_notice_each_other
            a_lab_is_on_one_engine_at_a_time
            a_name_of_somebody_elses_container_is_told;
        compose:
            test_beds_run_as_they_are_on_docker
            services_are_started_named_and_told_on_docker
            what_docker_builds_runs_on_both_engines;
        images:
            images_of_others_run_on_docker_as_they_do_here
            images_of_docker_run_on_both_engines;
    }
}

/// What only root can prepare.
fn tests_of_root() -> Vec<Trial> {
    tests! {
        volumes:
            what_a_node_writes_is_never_of_the_hosts_root;
        failures:
            a_full_disk_is_named_by_its_path
            a_host_with_mounts_below_its_folders_is_shown_in_parts;
    }
}
