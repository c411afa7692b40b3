"""The slowest tests: pytest leaves them out unless called with `-m ""`; CI runs them.

Most start processes, train several times, or compute in bfloat16, which many CPUs emulate. An entry
is a file, or one test in it; `conftest.py` marks them and refuses an entry that matches nothing.
"""

SLOW = (
    "test_cached_features.py::test_two_processes_train_as_one",
    "test_compiling.py::test_kernels_give_the_same_answers",
    "test_demo.py",
    "test_gpu_acceptance.py::test_all_steps_pass_at_a_toy_size",
    "test_distributed.py",
    "test_export.py::test_8_bit_weights_are_smaller_and_hardly_change_the_answer",
    "test_export.py::test_the_published_checkpoint_exports_with_its_logits",
    "test_face_detectors.py::test_network_detectors_run_with_random_weights",
    "test_streams_in_one_pass.py::test_a_kill_leaves_whole_streams_and_the_next_run_completes_them",
    "test_face_parts_made.py::test_landmarks_and_regions_are_added_to_a_store_that_exists",
    "test_face_parts_made.py::test_parts_of_another_network_are_refused_and_redone_with_overwrite",
    "test_finecliper.py::test_gradient_checkpointing_and_mixed_precision_train",
    "test_finecliper_commands.py::test_train_with_chosen_streams_then_eval_with_one_of_them",
    "test_finecliper_cost.py::test_info_counts_vit_b_16_with_the_default_settings",
    "test_finecliper_cost.py::test_streams_cost_and_gradient_checkpointing_saves_memory",
    "test_fuzz.py",
    "test_killed.py",
    "test_known_lists.py::test_published_short_clips_are_notes",
    "test_notebook.py::test_the_notebook_runs_and_shows_the_timeline",
    "test_readme.py",
    "test_regularisers.py::test_a_resume_in_two_processes_is_exact_to_the_byte",
    "test_regularisers.py::test_a_resume_is_exact_to_the_byte_with_all_of_them",
    "test_regularisers.py::test_cached_features_take_strides_views_and_averages",
    "test_signals.py",
    "test_towers.py::test_info_counts_every_method_on_large_towers_and_on_siglip",
    "test_stretches.py::test_a_damaged_stretch_gives_the_result_of_one_worker",
    "test_stretches.py::test_a_video_that_changes_between_stretches_is_done_as_a_whole",
    "test_stretches.py::test_a_worker_that_dies_in_a_stretch_costs_the_whole_source",
    "test_stretches.py::test_two_passes_over_stretches_are_the_same",
)
