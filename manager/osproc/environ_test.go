package osproc

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/seed7529eb29/regent/manager/app"
	"github.com/seed7529eb29/regent/policy"
)

func TestEnvironmentIsTheNodesWithoutSecretsThenTheAppsThenOurs(t *testing.T) {
	base := []string{
		"PATH=/bin", "HOME=/root", "EMPTY=", "TWICE=1", "TWICE=2", "WITH=a=b", "NATS_CA=/ca", "PWD=/somewhere",
		"REGENT_COOKIE=secret", "REGENT_COOKIE_FILE=/secret", "REGENT_NATS_CREDS=/outer", "REGENT_CONFIRMED=/outer", "REGENT_APP=outer",
		"NATS_CREDS=/creds", "NATS_NKEY=x", "NATS_USER=x", "NATS_PASSWORD=x", "NATS_TOKEN=x", "NATS_KEY=x", "NATS_CERT=x",
		"NATS_CONTEXT=x", "NATS_SEED=x", "NATS_JWT=x", "NATS_URL=nats://u:p@host:4222", "NOTIFY_SOCKET=/run/x",
	}
	c := Command{Dir: "/srv", Env: map[string]string{"KEY": "value", "HOME": "/srv/home", "REGENT_COOKIE_X": "secret", "REGENT_EPOCH": "999", "NATS_CREDS": "/the/apps/own"}}
	s := app.Start{
		App: "myapp", Node: "n1@h", Cluster: "default", Session: "uuid", Epoch: 18446744073709551615,
		Kind: policy.StartTakeover, From: "n2@h", Args: json.RawMessage("{\n \"a\": [1, 2]\n}"),
		Phases: []policy.Phase{{Name: "init"}, {Name: "init", Of: "db"}, {Name: "go"}},
	}
	want := []string{
		"EMPTY=", "HOME=/srv/home", "KEY=value", "NATS_CA=/ca", "NATS_CREDS=/the/apps/own", "PATH=/bin", "PWD=/srv",
		"REGENT_APP=myapp", `REGENT_ARGS={"a":[1,2]}`, "REGENT_CLUSTER=default", "REGENT_EPOCH=18446744073709551615", "REGENT_NATS_URL=tls://h:4222", "REGENT_NODE=n1@h",
		"REGENT_SESSION=uuid", "REGENT_START_FROM=n2@h", "REGENT_START_PHASES=init,db:init,go", "REGENT_START_TYPE=takeover",
		"TWICE=2", "WITH=a=b",
	}
	if got := environment(base, c, s, map[string]string{envNATSURL: "tls://h:4222"}); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestEnvironmentOfANormalStart(t *testing.T) {
	want := []string{
		"NATS_URL=nats://host:4222",
		"REGENT_APP=", "REGENT_ARGS=null", "REGENT_CLUSTER=", "REGENT_EPOCH=0", "REGENT_NODE=", "REGENT_SESSION=",
		"REGENT_START_FROM=", "REGENT_START_PHASES=", "REGENT_START_TYPE=normal",
	}
	got := environment([]string{"NATS_URL=nats://host:4222"}, Command{}, app.Start{Kind: policy.StartNormal, From: "n2@h"}, nil)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
