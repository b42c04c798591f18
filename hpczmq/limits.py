"""Every bound of the system, with its unit last in the name and its reason beside it.

A bound that another one depends on is asserted at the end, so that changing one of them without
the other can't be done by accident.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# --- Messages ---------------------------------------------------------------------------------

#: One raw buffer. A 4096² tile of uint32 fits; larger images are cut into tiles.
buffer_bytes_max: Final = 64 * MIB
#: The msgpack part of a message: 1,000,000 items of a `map` with small parameters.
body_bytes_max: Final = 64 * MIB
#: Values in one message or packed value, lists and dicts and what is in them: a `map` of a million
#: items has room, and all answers. Decoded they take some 300 MB at most, where 64 MiB of empty
#: dicts would take 5 GB. What is smaller than the second bound can't do harm, and is not counted.
values_max: Final = 4_000_000
values_counted_bytes: Final = MIB
#: Raw buffers of one message: as many as a lease has tasks, and no more.
buffers_max: Final = 1024
#: Names are for people; a longer one would break every table.
name_chars_max: Final = 128
#: An error with its traceback. Longer ones keep their end, where the cause is.
error_chars_max: Final = 16 * KIB
#: A short line of text: a reason, a version, an address.
text_chars_max: Final = 1024
#: One packed value: a parameter set, a task, an inline result.
value_bytes_max: Final = 16 * MIB
#: Capabilities that one slave may offer (a kernel with three algorithms offers three).
capabilities_max: Final = 1024
#: Labels of a slave, and of what a task asks for.
labels_max: Final = 64
#: Memory that a slave may have, or a task ask for: an exbibyte.
memory_bytes_max: Final = 1 << 60
#: Rows of one answer (jobs, slaves, alerts).
rows_max: Final = 100_000

# --- Jobs -------------------------------------------------------------------------------------

#: Tasks of one job. The master keeps a byte for each, and nothing else until it is placed.
tasks_per_job_max: Final = 10_000_000
#: Items of one `map`; each carries its own parameters.
items_per_job_max: Final = 1_000_000
#: Items of one `map` whose capability the master asks for: 0.1 s, in which it hears nobody.
items_checked_max: Final = 5_000
#: Jobs that are not ended yet; a submit past it is refused.
jobs_open_max: Final = 100_000
#: What open jobs take in the master's memory: parameters, items, a byte a task; past it a submit
#: is refused. Sixteen of the largest maps, or 100 jobs of as many tasks as there may be.
jobs_open_bytes_max: Final = 1024 * MIB
#: Ended jobs whose results the master keeps; the oldest are forgotten, first what was taken.
jobs_ended_max: Final = 1_000
#: What they take in its memory, likewise.
jobs_ended_bytes_max: Final = 256 * MIB
#: Results of all jobs on the master's disk, unless configured (`results`); at this bound nothing
#: new is taken in or placed until some were taken, or are forgotten.
results_bytes_max: Final = 1 << 50
#: Of the room on the disk at the master's start so much is for results: others write there too.
results_disk_percent: Final = 90
#: Results that the disk did not take, and that are in memory; the same happens then.
unwritten_bytes_max: Final = 256 * MIB
#: Alarms (next tries, deadlines) that are kept before those that came to nothing are taken out.
alarms_kept: Final = 10_000
#: Orders (cancel, clear, policy) whose answers the master can repeat: who misses one asks again
#: within `resend_heartbeats`, and there are never so many in that time.
orders_known_max: Final = 1_000
#: Priorities, 1 high, 2 medium, 3 low.
priority_min: Final = 1
priority_max: Final = 3
priority_default: Final = 2
#: Tasks of a job whose expected costs are heeded: 12 bytes each, and 50 ms to put them in order.
#: Of more, each is so little of the job that their order hardly matters.
tasks_ordered_max: Final = 100_000
#: A side of an image. 2**20 is more than any viewer opens; it keeps areas inside 2**53.
side_pixels_max: Final = 1 << 20
#: Iterations of a pixel: the counts are uint32 at most.
iterations_max: Final = (1 << 32) - 1
#: A tile's side. Below 64 the overhead shows, above 256 the last tiles make workers wait
#: (measured: within 3 % of the whole image from 128 on).
tile_pixels_default: Final = 128
tile_pixels_max: Final = 4096
#: Threads of one task: more than a machine has cores would only take turns.
threads_per_task_max: Final = 256
#: Seconds that a user may give a task or a job; a month.
timeout_s_max: Final = 31 * 24 * 3600.0
#: A job file. `jobs_open_max` lines of 160 characters fit; what is larger is another file.
jobfile_bytes_max: Final = 16 * MIB
#: Lines of a job file: each may cost a fault, and a `[[job]]` table takes ten.
jobfile_lines_max: Final = 1_000_000

# --- Pictures ---------------------------------------------------------------------------------

#: Pixels of a PNG file. Pillow refuses 179 million, browsers and viewers stop at about 16,384²;
#: a larger picture is a TIFF file, beside a PNG file of fewer pixels.
png_pixels_max: Final = 1 << 27
#: A side of that PNG file: what any screen and program shows at once.
overview_side_pixels_max: Final = 4096
#: A tile's side in a TIFF file: 256 KiB of pixels, of which a window shows a dozen or two.
tiff_tile_pixels: Final = 512
#: Counts of an image that `top` looks at: all of them come over the network.
overlooked_bytes_max: Final = 256 * MIB

# --- Liveness ---------------------------------------------------------------------------------

#: A slave says so often that it lives (2,000 of them cost the master 5 % of a core).
heartbeat_s_default: Final = 1.0
heartbeat_s_min: Final = 0.05
heartbeat_s_max: Final = 60.0
#: Heartbeats of silence after which a slave gets nothing new, and after which it is lost.
silent_heartbeats: Final = 2
lost_heartbeats: Final = 4
#: A lost slave is shown for so long before it is forgotten.
lost_shown_s: Final = 300.0
#: A client that was not heard for so long loses its subscriptions; it can come back.
client_silent_s: Final = 60.0
#: A report without an acknowledgement, a request without an answer: say it again.
resend_heartbeats: Final = 3
#: A result is not said again before it can have crossed a link as slow as this.
slow_link_bytes_per_s: Final = MIB
#: How often a node without a master says hello.
hello_s: Final = 0.5
#: A connection on which the other host confirms nothing for so long is given up, and dialled anew:
#: about when a node of default heartbeats misses its master, which then says hello on a new one.
connection_silent_s: Final = 4
#: A dial that nobody answers is begun anew after so long. The system's own would wait twice as
#: long each time: as long again as the network was away.
dial_ms: Final = 2_000
#: A shell wakes up at least so often to look at its clock.
tick_s: Final = 0.1
#: A client's turn that took longer than this stood still, and saw no more of its master's silence.
turn_s_max: Final = 1.0

# --- Placement --------------------------------------------------------------------------------

#: A lease carries so much work when its tasks are short (DESIGN 5: 10–50 ms).
lease_work_s: Final = 0.03
#: Tasks of one lease; at 1 µs a task the message is what costs, and 512 hide it.
tasks_per_lease_max: Final = 512
#: What they take together, before one more: what the network carries in some 10 ms.
lease_bytes_max: Final = 4 * MIB
#: Times that a task failed on a slave and succeeded elsewhere that are remembered of it.
strikes_max: Final = 1_000
#: The policy `resources` counts a round trip like an idle machine's at 0 and like this at 1.
latency_high_s: Final = 0.1
#: The weights of that policy, by which its parts are multiplied.
weights_max: Final = 1000.0
#: A slave may hold one more lease a slot while the running ones end this soon: the next one
#: is then there in time. Longer ones are better kept where they can go to whoever is free first.
prefetch_below_s: Final = 0.25
#: A lease is a straggler when it has been out for so long, and for so many times what its tasks
#: take on the average. Below the first a second start costs more than it gains: the loser's
#: worker is killed, and a new one needs half a second.
straggler_s: Final = 0.5
straggler_times: Final = 1.5
#: Leases, from the oldest on, among which stragglers are looked for each `tick_s`: some 3 ms.
stragglers_seen_max: Final = 10_000
#: Worker processes of one slave.
slots_max: Final = 1024
#: Slaves that the master knows, those lost lately included, and connections of clients; whoever
#: comes then is refused, and told so. One costs the master some 30 KB.
slaves_max: Final = 20_000
clients_max: Final = 10_000
#: What a slave keeps for a master that acknowledges nothing: past it only what runs goes on.
kept_bytes_max: Final = 256 * MIB
#: A task that killed its worker so often has failed.
crash_limit: Final = 3
#: Times that a task whose kernel raised may be run again, if its job wishes so.
retries_max: Final = 100
#: It waits so long before the second try, twice as long before each further one, and so at most.
retry_s_min: Final = 1.0
retry_s_max: Final = 60.0
#: A task that failed on a slave goes elsewhere for so long, if there is an elsewhere.
avoid_s: Final = 30.0
#: So many tasks that failed on a slave and succeeded elsewhere, within this time, and more of them
#: than succeeded there meanwhile: then it is the slave, and it gets nothing new until its
#: probation. After that a single one is enough.
quarantine_limit: Final = 3
quarantine_window_s: Final = 600.0
probation_s: Final = 300.0
#: Attempts that a job remembers: those that went wrong, and what became of their tasks.
attempts_kept_max: Final = 100
#: Starts of tasks whose times a job remembers, and all jobs; 43 bytes each. And events, of 300.
spans_per_job_max: Final = 50_000
spans_kept_max: Final = 200_000
events_kept_max: Final = 2_000
#: So many of them may be about nodes of another version, whatever they call themselves.
refusals_kept_max: Final = 100
#: The last lines that a worker printed during an attempt, and how much of each.
log_lines_max: Final = 50
log_line_chars_max: Final = 200
#: All of them together, on the master: of the oldest attempts the lines are forgotten first.
log_chars_max: Final = 8 * MIB
#: Of each attempt so much of the log stands in the error of a task that failed for good.
log_told_chars_max: Final = 3 * KIB
#: Finished tasks are reported after so long at the latest, while the lease goes on.
report_flush_s: Final = 0.02
#: Results held back for company are sent at this size: a slave copies it in a millisecond or two.
report_held_bytes_max: Final = 4 * MIB
#: A new worker process may take so long to say that it is ready.
worker_start_s: Final = 30.0
#: Workers whose socket pairs are closed may take so long to end by themselves, all of them
#: together: an idle one needs some 10 ms, and a user who stops a slave notices from here on.
worker_end_s: Final = 0.3
#: Files that a worker may have open: usually (what select() can take), and if a kernel asks for
#: more. Its slave itself has all that the system gives.
worker_files_usual: Final = 1_024
worker_files_max: Final = 4_096
#: Beside its bound a worker has so much memory to tell with that it ran out of it.
worker_reserve_bytes: Final = 32 * MIB
#: The smallest bound: below it no array of use fits.
worker_memory_bytes_min: Final = 16 * MIB
#: A worker that goes on after SIGXCPU is killed so much CPU time later: the limit counts whole
#: seconds, and which task runs is known `report_flush_s` late.
worker_cpu_grace_s: Final = 2.0
#: The kernel's memory killer (0 to 1000) takes a worker before its slave.
worker_oom_points: Final = 500
#: Folders that a killed slave has left are taken away once they are this old.
scratch_young_s: Final = 60.0
#: A slave that is told to end (SIGTERM) may go on so long with what it runs; then it hands that
#: back. With all that follows it is gone within the 10 seconds after which Docker kills.
grace_s_default: Final = 8.0
#: What it has computed by then may take so long to be acknowledged.
farewell_s: Final = 1.0
#: A slave each of whose workers has died so often while starting takes no lease until one is up.
stumbles_max: Final = 3

# --- Delivery ---------------------------------------------------------------------------------

#: Chunks of results that a client may have on their way for one job.
chunk_credit: Final = 64
#: Bytes of results that one client may have on their way: what waits for one that does not read.
#: More than a fast network has on its way (1 GB/s for 10 ms). A larger chunk goes alone.
client_backlog_bytes_max: Final = 16 * MIB
#: The same for all clients together; past it each may have one chunk on its way.
clients_backlog_bytes_max: Final = 256 * MIB
#: A client whose bytes have not moved for so long is cut off, and told.
client_still_s: Final = 20.0
#: Where sockets start to refuse (ZMQ_SNDHWM, ZMQ_RCVHWM). Credit keeps every peer below it.
socket_messages_max: Final = 10_000
#: Messages of one peer that a ROUTER has before it stops to read its connection. TCP keeps the
#: rest, and that is thrown away when it is cut.
received_messages_max: Final = 100
#: Connections that wait to be accepted (at 100, 2,000 of them take 2.0 s instead of 0.3 s).
listen_backlog: Final = 4_096
#: From this size on a buffer is handed to libzmq without a copy.
zero_copy_bytes: Final = MIB
#: A socket may take so long to hand over its last messages at exit (0 loses, −1 hangs).
linger_ms: Final = 1_000
#: Messages that a shell takes from one socket before it places and looks at the clock again.
messages_per_turn_max: Final = 1_000

#: Futures that `execute` has with a foreign executor: enough to keep a hundred workers busy, and
#: few enough to hold their results (256 of the default tiles are 16 MiB).
executor_futures_max: Final = 256

# --- Floods -----------------------------------------------------------------------------------

#: What a peer may owe: messages that bring nothing on, of some 30 µs each, and how fast that falls.
#: A client that cancels 20,000 jobs one by one is below it, or asks 1,000 times a second for 20 s.
useless_messages_max: Final = 25_000.0
useless_messages_per_s: Final = 200.0
#: What all peers may owe together, and how fast that falls: on a core that master, slave and
#: client share, where each answer is a change of threads, one takes 100 µs: a tenth of the core.
useless_together_messages_max: Final = 1_000.0
useless_together_messages_per_s: Final = 1_000.0
#: While all together owe more, who owes more than this (a hello and a question) has to wait. One
#: that waits for its answers is slowed down by that, and not more.
useless_pressed_messages: Final = 75.0
#: Messages of one peer that wait, of all of them, and what they take. Who says more floods.
held_messages_max: Final = 300
held_together_messages_max: Final = 10_000
held_bytes_max: Final = 64 * MIB
#: A turn ends after so much that was of no use, 1.5 ms: then placement and the clock are next.
useless_per_turn_messages: Final = 50.0
#: A message that is dropped unread (4 µs).
dropped_messages: Final = 0.15
#: Who passes these bounds is not listened to for so long: as long as a lost master is waited for.
flood_mute_s: Final = 5.0
#: What it is told has so long to leave; then its connection is cut.
flood_told_s: Final = 0.001
#: A hello counts for so many. Nodes say two a second while they are refused.
hello_messages: Final = 20.0
#: Of a refusal: the message was read, and an answer made.
refusal_messages: Final = 2.0
#: Rows of an answer that count as one message more; and what one answer counts for at most, or
#: `top` could not look at 100,000 jobs.
rows_per_message: Final = 4
answer_messages_max: Final = 50.0
#: New members at once, and how many a second after that. 10,000 slaves that come back after a
#: restart are let in twice; each costs some 60 µs.
newcomers_max: Final = 20_000
newcomers_per_s: Final = 200.0
#: Of lost slaves so many are shown: they are looked at each tick.
lost_slaves_max: Final = 2_000
#: Addresses of memorias in a status.
memorias_shown_max: Final = 16
#: Codes by which refusals are counted; ours are twenty.
refusal_codes_max: Final = 64
#: A connection has so long for ZMTP's handshake, and so long for its first message.
handshake_ms: Final = 5_000
speechless_s: Final = 30.0
#: Above this part of the file descriptors nobody new is taken, and who is no member has to go.
connections_percent: Final = 90.0
#: How often each kind of refusal is logged.
refusals_logged_s: Final = 60.0
#: Bytes on one connection without an end of the message. libzmq keeps all frames of a message
#: until the last has come, and its own bounds are for single frames and whole messages.
message_bytes_max: Final = 256 * MIB
#: News of connections read in one tick, of each bound socket: it is soon over, storm or not.
connections_told_max: Final = 2_000
#: The same of who is no member: a hello has no more. And of all connections of a socket together:
#: the sixteen largest submits at once.
stranger_bytes_max: Final = 4 * MIB
unfinished_bytes_max: Final = 1024 * MIB
#: Connections whose bytes are looked at in one tick; the others are next. All of them are, once
#: this process has grown by so much.
connections_looked_max: Final = 200
growth_looked_bytes: Final = 64 * MIB
#: How often connections are looked at while new ones come, or a large message is on its way: a
#: fast network brings 25 MB in this time, loopback 60.
look_s: Final = 0.02
#: New connections at once, and how many a second after that; each costs some 150 µs, and 400 in
#: all if a new member comes of it. Past this the system takes none, and who dials tries again. As
#: long as the master is not busy all may come: a whole cluster is back at once after a restart.
arrivals_max: Final = 1_000
arrivals_per_s: Final = 300.0
#: A master is busy until nothing was on its way to a slave for so long.
busy_s: Final = 60.0
#: What strangers may say at once while it is, and how much a second after that. What is
#: above is dropped unread; a node that joins says hello twice a second.
strangers_messages_max: Final = 100
strangers_messages_per_s: Final = 300.0
#: So many new connections one counts for that had to be cut: who comes back does it all again.
cut_arrivals: Final = 50.0

#: Keys of admins, clients, viewers and memorias: each node with a port of its own has all of them.
readers_max: Final = 10_000
#: How long after a master did not want a node that one dials again. How long it dials with one of
#: two keys of its master, hearing nothing, before it tries the other. How long a
#: token may be good, and a rotation of the cluster's key be announced: a year, in seconds.
redial_s: Final = 2.0
other_key_s: Final = 3.0
token_s_max: Final = 365 * 24 * 3600.0
rotation_s_max: Final = token_s_max
#: A join token: 128 bits and what tells one from another.
token_bytes_max: Final = 64
#: Useless messages that a try with a token counts as: after a dozen its sender is muted.
token_try_messages: Final = 2_000.0

# --- Metrics and alerts -----------------------------------------------------------------------

#: Nodes that a memoria remembers, and slaves that a master takes.
nodes_max: Final = 20_000
#: Slaves of `hpczmq simulate`: a gigabyte of memory or so; and its longest run, in simulated
#: seconds: jobs that take a month are not hung.
simulated_slaves_max: Final = 100_000
simulated_s_max: Final = 31 * 24 * 3600.0
#: What a master says of its cluster with each heartbeat: jobs that don't move, lost slaves.
findings_max: Final = 1_000
#: Jobs of each priority, from the front of its queue, that it looks at for that.
jobs_looked_max: Final = 100
#: Losses of slaves that are remembered, by name and together, and for how long.
losses_max: Final = 1_000
losses_window_s: Final = 600.0
#: A memoria keeps so much in memory at full rate: an hour of 300 nodes, and less of more.
history_full_s: Final = 3600.0
history_bytes_max: Final = 256 * MIB
#: What its file takes, unless configured: a year of 40 nodes. The oldest go first.
history_file_bytes_max: Final = 1024 * MIB
history_file_bytes_min: Final = MIB
#: One answer: rows, nodes, columns.
history_page_bytes_max: Final = MIB
history_runs_max: Final = 1_000
history_columns_max: Final = 256
#: Rows that wait for the disk; when it does not keep up the oldest are dropped, and that is told.
history_waiting_bytes_max: Final = 64 * MIB
#: Questions to the disk that wait for their turn; more are refused.
history_questions_max: Final = 100
#: A gap is asked for so often before it is left open, and so long after the last try.
fill_tries_max: Final = 5
gaps_max: Final = 100
fill_s: Final = 10.0
#: Cores of one machine that are told one by one.
cores_max: Final = 4_096
#: A node tells so often what its heartbeats don't carry: each core, each worker, totals.
report_s_default: Final = 30.0
report_s_min: Final = 0.05
#: The round trip is measured at least so often: by each heartbeat's echo, or else by a ping.
ping_s_default: Final = 10.0
ping_s_min: Final = 0.05
#: Both are heard of at least so often.
interval_s_max: Final = 3600.0
#: A file of rules: as many, and so long.
rules_max: Final = 1_000
rules_chars_max: Final = MIB
#: Alerts of one answer: each may be some KiB.
alerts_told_max: Final = 5_000
#: Alerts that are over and still told.
alerts_kept_max: Final = 1_000
#: One that was active when its memoria ended is over, unless it is raised again in this time.
alert_restored_s: Final = 120.0
#: The user's command that is told of alerts: how long it may take, and how many may wait for it.
on_alert_s: Final = 10.0
on_alert_backlog_max: Final = 100
#: The file for Prometheus is written so often.
textfile_s: Final = 10.0
#: CPU saturation: raised at or above this load for so long, cleared below the lower one.
cpu_saturated_percent: Final = 95.0
cpu_clear_percent: Final = 80.0
cpu_saturated_s: Final = 10.0

assert lost_heartbeats > silent_heartbeats >= 1, "a slave must be silent before it is lost"
assert resend_heartbeats < lost_heartbeats, "a lost report is said again before its slave is lost"
assert connection_silent_s <= lost_heartbeats * heartbeat_s_default, "hello needs a connection"
assert tick_s < turn_s_max, "a quiet turn takes a tick"
assert tasks_per_lease_max <= buffers_max, "each task of a lease may answer with a buffer"
assert items_per_job_max <= tasks_per_job_max
assert answer_messages_max * 2 < useless_messages_per_s, "who asks twice a second never owes much"
assert hello_messages / hello_s < useless_messages_per_s, "nor does who is refused"
assert hello_messages + 1 + answer_messages_max < useless_pressed_messages, "one question is free"
assert body_bytes_max + report_held_bytes_max + buffer_bytes_max < message_bytes_max
assert stranger_bytes_max < message_bytes_max < unfinished_bytes_max
assert look_s < tick_s
assert dial_ms < handshake_ms < 1_000 * speechless_s
assert 2 * items_per_job_max < values_max, "a whole map is one message"
assert 10 * jobs_open_max <= jobfile_lines_max, "a full queue fits a file, as tables too"
assert retry_s_min <= retry_s_max
assert probation_s < quarantine_window_s, "what it was in quarantine for still counts after it"
assert priority_min <= priority_default <= priority_max
assert tile_pixels_max**2 * 4 <= buffer_bytes_max, "the largest tile fits a buffer"
assert overview_side_pixels_max**2 <= png_pixels_max, "the overview is a PNG file itself"
assert tiff_tile_pixels % 16 == 0, "as TIFF wants it"
assert chunk_credit < socket_messages_max, "credit ends before the socket's own mark"
assert lease_bytes_max + 2 * value_bytes_max < body_bytes_max, "a lease and its parameters fit"
assert client_backlog_bytes_max < client_still_s * slow_link_bytes_per_s, "a slow link is no stop"
assert client_backlog_bytes_max <= clients_backlog_bytes_max
assert body_bytes_max < jobs_open_bytes_max, "the largest submit fits a master without jobs"
assert slaves_max <= nodes_max, "a memoria remembers each of them"
assert report_held_bytes_max + value_bytes_max < body_bytes_max // 2, "a report is taken whole"
assert crash_limit * log_told_chars_max < error_chars_max, "the cause is not cut off by the log"
assert grace_s_default + farewell_s + worker_end_s < 10.0, "docker stop waits no longer"
assert worker_files_usual <= worker_files_max
assert report_flush_s < worker_cpu_grace_s - 1.0, "the worker's own limit strikes first"
assert report_flush_s <= lease_work_s, "a full lease is reported as one message"
assert cpu_clear_percent < cpu_saturated_percent, "hysteresis"
