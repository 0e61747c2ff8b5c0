package metrics

// The names of all metrics. Those that end in _total count since the node
// started; the others say what is true now.
const (
	nameBuildInfo      = "regent_build_info"
	nameDoubleOwner    = "regent_double_owner_total"
	nameClaims         = "regent_claims_total"
	nameStarts         = "regent_starts_total"
	nameStartFailures  = "regent_start_failures_total"
	nameStops          = "regent_stops_total"
	nameExits          = "regent_exits_total"
	nameFailovers      = "regent_failovers_total"
	nameTakeovers      = "regent_takeovers_total"
	nameFences         = "regent_fences_total"
	nameCertificates   = "regent_certificates_total"
	nameSuspicions     = "regent_suspicions_total"
	nameRenewals       = "regent_renewals_total"
	nameRenewalSeconds = "regent_renewal_duration_seconds"
	nameSession        = "regent_session"
	nameDeadline       = "regent_deadline_seconds"
	nameQuorum         = "regent_quorum"
	nameServers        = "regent_servers"
	nameNodes          = "regent_nodes"
	nameAppRunning     = "regent_app_running"
	nameAppOwned       = "regent_app_owned"
	nameAppEpoch       = "regent_app_epoch"
	nameMessages       = "regent_messages_dropped_total"
	nameEventsLost     = "regent_events_lost_total"
	nameEventsWaiting  = "regent_events_waiting"
)

// Labels.
const (
	labelApp     = "app"
	labelBy      = "by"      // of a certificate: warden, lease, same_host
	labelKind    = "kind"    // of a claim: claim, reserve, reassert; of a start: normal, failover, takeover
	labelOutcome = "outcome" // of a renewal: ok, refused, unknown
	labelState   = "state"   // of a node
	labelReason  = "reason"  // why a message was dropped
	labelVersion = "version"
	labelCluster = "cluster"
	labelNode    = "node"
)
