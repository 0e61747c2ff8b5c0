package manager

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/manager/warden"
)

// FuzzState: what a node remembers is read whole or refused, and survives being
// written.
func FuzzState(f *testing.F) {
	for _, text := range []string{
		`{"v":1,"node":"n@h","identity":"x","seq":9,"apps":[{"app":"a","seen":1,"allotted":2},{"app":"b","seen":1,"allotted":2}],"denied":["a"]}`,
		`{"v":1,"node":"n@h","apps":[{"app":"b"},{"app":"a"}]}`, `{"v":2,"node":"n@h"}`, `{"v":1,"node":"other"}`, `{`, ``,
	} {
		f.Add([]byte(text))
	}
	state := openState(f.TempDir())
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(state.path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		mem, err := state.Load("n@h")
		if err != nil {
			if !errors.Is(err, ErrState) {
				t.Error(err)
			}
			return
		}
		raw, err := encodeState("n@h", mem)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(state.path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		if again, err := state.Load("n@h"); err != nil || !reflect.DeepEqual(again, mem) {
			t.Errorf("%s\nread as   %+v\nand again %+v, %v", text, mem, again, err)
		}
	})
}

// FuzzReach: what an agent says of the cluster gives a warden options to connect
// with, or an error.
func FuzzReach(f *testing.F) {
	for _, text := range []string{
		`{"urls":["nats://h:4222"],"derived":"AAAA"}`, `{"urls":null,"access":{"creds":"/no/such/file"}}`, `{"access":{"user":"a","password":"b"}}`, `{"nkey":"%zz"}`, `{"derived":"AAAA","also":"BBBB"}`, `{}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var r reach
		if json.Unmarshal(text, &r) != nil {
			return
		}
		var o bus.Options
		err := (&certifier{life: warden.Life{Cluster: "c", Node: "n@h", Agent: "a", TTL: time.Second}}).login(&r, &o)
		if secret := r.Derived + r.NKey; (secret != "" || r.Access.Shows()) && err == nil && len(o.Login) == 0 && o.Key == nil {
			t.Errorf("%s: no way to log in, and no error", text)
		}
	})
}
