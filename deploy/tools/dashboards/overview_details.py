"""Rows of the overview that are closed at first: gRPC's calls and the process."""

from dashboards.panels import row, series, stat, table
from dashboards.queries import quantile, quantiles, rate, total

METHOD = "grpc_service, grpc_method"
METHOD_LEGEND = "{{grpc_service}}/{{grpc_method}}"


def calls_row():
    return row("gRPC", [
        series("Calls begun, by method",
               "All of them, health checks too. unknown: somebody asks for what there is not.",
               {METHOD_LEGEND: rate("grpc_server_started_total{}", METHOD) + " > 0"}, "reqps"),
        series("Calls ended, by method and status",
               "All of them. Unauthenticated in numbers: a key that was taken back is still used, or "
               "somebody guesses.",
               {"{{grpc_method}} {{grpc_code}}": rate("grpc_server_handled_total{}", "grpc_method, grpc_code")
                + " > 0"},
               "reqps"),
        series("Time of a call, p99",
               "From a call's start to its status. Of streams that is the whole answer; of the others "
               "anything above some milliseconds: gRPC's threads are busy.",
               {METHOD_LEGEND: quantile(0.99, "grpc_server_handling_seconds{}", METHOD)}, "s"),
        series("Messages",
               "From clients and to them. Many sent for each token: message_interval in a request asks for "
               "fewer.",
               {"received": rate("grpc_server_msg_received_total{}"),
                "sent": rate("grpc_server_msg_sent_total{}")},
               "ops"),
        series("Calls in flight",
               "open: streams of answers whose status is not out; begun and not ended: of all methods. Open "
               "and neither running nor waiting: clients read slowly.",
               {"open": total("quire_streams_open{}"), "begun and not ended":
                "sum(grpc_server_started_total{}) - sum(grpc_server_handled_total{})"}),
        series("Writing a message",
               "From a message's write to its completion. See QuireSlowReaders.",
               quantiles("quire_stream_write_seconds{}"), "s"),
        series("Connections refused",
               "Closed at once: there were --max-connections, or no file descriptor. See "
               "QuireConnectionsRefused.",
               {"refused": rate("quire_refused_connections_total{}"),
                "no descriptor": rate("quire_accept_failures_total{}")},
               "ops"),
        series("Connections to itself",
               "Each --self-probe-interval the server connects to its own --listen. Some that fail: see "
               "QuireSelfProbesFail.",
               {"{{result}}": rate("quire_self_probes_total{}", "result")}, "ops", stacked=True),
        stat("Certificate ends in",
             "The first of those that the servers show; without TLS there is nothing. Red: a week, see "
             "QuireCertificateExpiring.",
             "min(quire_tls_certificate_expiry_timestamp_seconds{}) - time()", "s", 8, good_above=7 * 86400),
    ], collapsed=True)


def process_row():
    return row("Process", [
        series("Processor",
               "Cores in use, by server. At all cores (or the container's limit) steps take longer.",
               {"{{instance}}": rate("process_cpu_seconds_total{}", "instance")}),
        series("Memory",
               "resident counts against a container's limit; it should stand still once the server is warm.",
               {"resident {{instance}}": total("process_resident_memory_bytes{}", "instance"),
                "virtual {{instance}}": total("process_virtual_memory_bytes{}", "instance")},
               "bytes"),
        series("File descriptors",
               "Share of those that the process may have. Near 1 it takes no connections.",
               {"{{instance}}": "max by (instance) (process_open_fds{} / process_max_fds{})"},
               "percentunit", most=1, thresholds=((0.9, "red"),)),
        series("Threads",
               "Grows with connections at first, then stands still.",
               {"{{instance}}": total("process_threads{}", "instance")}),
        series("Lines of the log",
               "By level, those too that were left out. Errors: read them.",
               {"{{level}}": rate("quire_log_messages_total{}", "level")}, "ops", stacked=True),
        series("Up for",
               "Time since the process started. Falls to 0 with each restart, see QuireRestarts.",
               {"{{instance}}": "time() - max by (instance) (process_start_time_seconds{})"}, "s"),
        table("Programs",
              "What runs where. Several versions for long: a rollout is stuck.",
              {"is": "max by (instance, model, version, commit, backend) (quire_build_info{})"}),
    ], collapsed=True)
