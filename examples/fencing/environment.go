package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// environment is what regent tells the process of an app.
type environment struct {
	app, cluster, node string
	epoch              uint64
	confirmed          string // file that must be there before the epoch is shown; empty: at once
	args               struct {
		Replicas int `json:"replicas"` // of the ledger
	}
}

func readEnvironment() (e environment, err error) {
	e.app, e.cluster, e.node = os.Getenv("REGENT_APP"), os.Getenv("REGENT_CLUSTER"), os.Getenv("REGENT_NODE")
	e.confirmed = os.Getenv("REGENT_CONFIRMED")
	if e.epoch, err = strconv.ParseUint(os.Getenv("REGENT_EPOCH"), 10, 64); err != nil {
		return e, fmt.Errorf("no epoch: regent has to start this program (%w)", err)
	}
	if err := json.Unmarshal([]byte(os.Getenv("REGENT_ARGS")), &e.args); err != nil {
		return e, fmt.Errorf("REGENT_ARGS: %w", err)
	}
	return e, nil
}

// subject is one of the app's own. An app whose name has other characters than
// letters, digits, _ and - has them escaped there.
func (e environment) subject(part string) string {
	return "regent." + e.cluster + ".app." + e.app + "." + part
}

// stream is the one that the app may make.
func (e environment) stream() string { return "regent_" + e.cluster + "_app_" + e.app }

// connect uses the credentials of this app: files that are there as long as the
// app is.
func (e environment) connect() (*nats.Conn, error) {
	return nats.Connect(os.Getenv("REGENT_NATS_URL"),
		nats.Name(fmt.Sprintf("%s epoch %d", e.app, e.epoch)),
		nats.UserCredentials(os.Getenv("REGENT_NATS_CREDS")),
		nats.RootCAs(os.Getenv("REGENT_NATS_CA")),
		nats.ClientCert(os.Getenv("REGENT_NATS_CERT"), os.Getenv("REGENT_NATS_KEY")),
		nats.CustomInboxPrefix(os.Getenv("REGENT_NATS_INBOX")),
		nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
}
