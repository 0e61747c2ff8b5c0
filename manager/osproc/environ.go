package osproc

import (
	"bytes"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/seed7529eb29/regent/manager/app"
	"github.com/seed7529eb29/regent/policy"
)

// The variables that an app's process finds.
const (
	envApp       = "REGENT_APP"
	envNode      = "REGENT_NODE"
	envCluster   = "REGENT_CLUSTER"
	envSession   = "REGENT_SESSION"
	envEpoch     = "REGENT_EPOCH"
	envStartType = "REGENT_START_TYPE"
	envStartFrom = "REGENT_START_FROM"
	envArgs      = "REGENT_ARGS"
	envPhases    = "REGENT_START_PHASES" // names in order, separated by commas; APP:NAME is an included app's
	envConfirmed = "REGENT_CONFIRMED"    // file that appears when a provisional epoch is the owner's

	envNATSURL   = "REGENT_NATS_URL"
	envNATSInbox = "REGENT_NATS_INBOX" // prefix
	envNATSCreds = "REGENT_NATS_CREDS" // files, from here on
	envNATSCA    = "REGENT_NATS_CA"
	envNATSCert  = "REGENT_NATS_CERT"
	envNATSKey   = "REGENT_NATS_KEY"
)

// cookie begins the variables that no child ever sees, whoever set them.
const cookie = "REGENT_COOKIE"

// notInherited are variables of the node that are no business of its apps: its
// NATS credentials, and its line to the service manager.
var notInherited = []string{
	"NATS_CONTEXT", "NATS_CREDS", "NATS_NKEY", "NATS_SEED", "NATS_JWT", "NATS_TOKEN",
	"NATS_USER", "NATS_PASSWORD", "NATS_CERT", "NATS_KEY",
	"NOTIFY_SOCKET",
}

func inherited(name, value string) bool {
	switch {
	case strings.HasPrefix(name, cookie), strings.HasPrefix(name, "REGENT_NATS_"), name == envConfirmed:
		return false
	case name == "NATS_URL":
		return !strings.Contains(value, "@") // user:password@host or token@host
	}
	return !slices.Contains(notInherited, name)
}

// environment is what the command of c sees when it is started for s, with own
// variables of this start, by a node that has the environment base. It is
// sorted, each name once.
func environment(base []string, c Command, s app.Start, own map[string]string) []string {
	vars := map[string]string{}
	for _, v := range base {
		if name, value, ok := strings.Cut(v, "="); ok && name != "" && inherited(name, value) {
			vars[name] = value
		}
	}
	if dir, err := filepath.Abs(c.Dir); c.Dir != "" && err == nil {
		vars["PWD"] = dir
	}
	for name, value := range c.Env {
		if !strings.HasPrefix(name, cookie) {
			vars[name] = value
		}
	}
	maps.Copy(vars, startVariables(s))
	maps.Copy(vars, own)
	env := make([]string, 0, len(vars))
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		env = append(env, name+"="+vars[name])
	}
	return env
}

func startVariables(s app.Start) map[string]string {
	from := s.From
	if s.Kind == policy.StartNormal {
		from = ""
	}
	phases := make([]string, len(s.Phases))
	for i, p := range s.Phases {
		phases[i] = p.String()
	}
	return map[string]string{
		envApp:       string(s.App),
		envNode:      string(s.Node),
		envCluster:   s.Cluster,
		envSession:   string(s.Session),
		envEpoch:     strconv.FormatUint(uint64(s.Epoch), 10),
		envStartType: string(s.Kind),
		envStartFrom: string(from),
		envArgs:      argsText(s.Args),
		envPhases:    strings.Join(phases, ","),
	}
}

// argsText is the start arguments on one line; JSON null if there are none.
func argsText(args json.RawMessage) string {
	if len(args) == 0 {
		return "null"
	}
	var b bytes.Buffer
	if err := json.Compact(&b, args); err != nil {
		return string(args)
	}
	return b.String()
}

// variable is the value of name in env.
func variable(env []string, name string) string {
	for _, v := range env {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}
