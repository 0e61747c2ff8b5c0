package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func fullBeat() machine.Beat {
	return machine.Beat{
		Node: "node1@lxw", Agent: "5f0c1ad2-7f5a-4c5e-9a52-0d8c6c1f5f01", Session: "9d2e77aa-1a3b-4d0f-8d8e-3f2c6a1b2c3d",
		N: 17, Phase: machine.BeatUp, Hidden: true, Full: true,
		Digest: "sha256-3b1f", Spec: 41, Version: "1.0.0", Since: 1767366245123,
		Apps: []machine.AppBeat{
			{App: "failed", Started: true, Type: policy.Permanent, Failed: true, Error: "exit status 1: \"no\" <disk>", Epoch: 3},
			{App: "local", Started: true, Type: policy.Temporary, Running: true},
			{App: "runs", Started: true, Type: policy.Temporary, Epoch: 8, Run: 7, Ending: true},
			{App: "shut", Denied: true, Epoch: 1<<63 + 1},
		},
		Identity: "2026-01-02T15:04:05.123456789Z/4be1", Memory: true, Vouches: true,
		Waiting: []string{"node3@lxw to come", "a quorum"},
		Seq:     4711, Heard: []machine.Echo{{Agent: "8b1d6a3c-2a0e-4a39-8a53-5c1f0a7d9e02", N: 12}},
	}
}

func briefBeat() machine.Beat {
	return machine.Beat{Node: "node1@lxw", Agent: "5f0c1ad2-7f5a-4c5e-9a52-0d8c6c1f5f01", N: 18, Phase: machine.BeatSyncing}
}

func TestGolden(t *testing.T) {
	for name, b := range map[string]machine.Beat{"full": fullBeat(), "brief": briefBeat()} {
		data, err := Encode(b)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", name+".json")
		if *rewrite {
			if err := os.WriteFile(file, append(data, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(append(data, '\n'), want) {
			t.Errorf("%s: wrote\n%s\nwant\n%s", name, data, want)
		}
		if got, err := Decode(b.Node, want); err != nil || !reflect.DeepEqual(got, b) {
			t.Errorf("%s: read %+v, %v, want %+v", name, got, err, b)
		}
	}
}

// A field that is added to machine.Beat must not be forgotten here.
func TestEveryFieldIsCarried(t *testing.T) {
	checkNoZero(t, "Beat", reflect.ValueOf(fullBeat()))
	var app machine.AppBeat
	for _, a := range fullBeat().Apps {
		mergeFields(reflect.ValueOf(&app).Elem(), reflect.ValueOf(a))
	}
	checkNoZero(t, "AppBeat", reflect.ValueOf(app))
}

func checkNoZero(t *testing.T, name string, v reflect.Value) {
	t.Helper()
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("%s.%s is not in the golden beat, so nobody knows whether it is carried", name, v.Type().Field(i).Name)
		}
	}
}

func mergeFields(into, from reflect.Value) {
	for i := range from.NumField() {
		if !from.Field(i).IsZero() {
			into.Field(i).Set(from.Field(i))
		}
	}
}

func TestBriefBeatsCarryOnlyLife(t *testing.T) {
	b := fullBeat()
	b.Full = false
	data, err := Encode(b)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(b.Node, data)
	want := machine.Beat{Node: b.Node, Agent: b.Agent, Session: b.Session, N: b.N, Phase: b.Phase, Hidden: b.Hidden}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestRefused(t *testing.T) {
	long := strings.Repeat("x", 600)
	for _, tt := range []struct {
		name, data string
		want       error
	}{
		{"empty", ``, ErrMalformed},
		{"not JSON", `hello`, ErrMalformed},
		{"null", `null`, ErrMalformed},
		{"no object", `[1]`, ErrMalformed},
		{"binary", "\x00\xff\xfe", ErrMalformed},
		{"cut", `{"v":1,"node":"a@b","agent":"x","phase":"up"`, ErrMalformed},
		{"two", `{"v":1,"node":"a@b","agent":"x","phase":"up"}{}`, ErrMalformed},
		{"deep", strings.Repeat(`[`, 100_000), ErrMalformed},
		{"no version", `{"node":"a@b","agent":"x","phase":"up"}`, ErrMalformed},
		{"negative version", `{"v":-1,"node":"a@b","agent":"x","phase":"up"}`, ErrMalformed},
		{"newer", `{"v":2,"node":"a@b","agent":"x","phase":"up"}`, ErrNewer},
		{"newer, other types", `{"v":2,"node":{"name":"a"},"n":"many"}`, ErrNewer},
		{"bad node", `{"v":1,"node":"ab","agent":"x","phase":"up"}`, ErrMalformed},
		{"other node", `{"v":1,"node":"c@b","agent":"x","phase":"up"}`, ErrForeign},
		{"no agent", `{"v":1,"node":"a@b","phase":"up"}`, ErrMalformed},
		{"long agent", `{"v":1,"node":"a@b","agent":"` + long + `","phase":"up"}`, ErrMalformed},
		{"escape in agent", `{"v":1,"node":"a@b","agent":"\u001b[2J","phase":"up"}`, ErrMalformed},
		{"session is no text", `{"v":1,"node":"a@b","agent":"x","session":7,"phase":"up"}`, ErrMalformed},
		{"unprintable session", `{"v":1,"node":"a@b","agent":"x","session":"é","phase":"up"}`, ErrMalformed},
		{"no phase", `{"v":1,"node":"a@b","agent":"x"}`, ErrMalformed},
		{"other phase", `{"v":1,"node":"a@b","agent":"x","phase":"` + long + `"}`, ErrMalformed},
		{"negative count", `{"v":1,"node":"a@b","agent":"x","phase":"up","n":-1}`, ErrMalformed},
		{"huge count", `{"v":1,"node":"a@b","agent":"x","phase":"up","n":1e99}`, ErrMalformed},
		{"bad since", `{"v":1,"node":"a@b","agent":"x","phase":"up","full":true,"since":"yesterday"}`, ErrMalformed},
		{"since before all clocks", `{"v":1,"node":"a@b","agent":"x","phase":"up","full":true,"since":"0000-01-01T00:00:00.000Z"}`, ErrMalformed},
		{"bad app", `{"v":1,"node":"a@b","agent":"x","phase":"up","full":true,"apps":[{"app":"a.b"}]}`, ErrMalformed},
		{"bad type", `{"v":1,"node":"a@b","agent":"x","phase":"up","full":true,"apps":[{"app":"a","type":"eternal"}]}`, ErrMalformed},
		{"app twice", `{"v":1,"node":"a@b","agent":"x","phase":"up","full":true,"apps":[{"app":"a"},{"app":"a"}]}`, ErrMalformed},
		{"long error", `{"v":1,"node":"a@b","agent":"x","phase":"up","full":true,"apps":[{"app":"a","error":"` + long + `"}]}`, ErrMalformed},
		{"long digest", `{"v":1,"node":"a@b","agent":"x","phase":"up","full":true,"digest":"` + long + `"}`, ErrMalformed},
		{"long wait", `{"v":1,"node":"a@b","agent":"x","phase":"up","full":true,"waiting":["` + long + `"]}`, ErrMalformed},
		{"many waits", `{"v":1,"node":"a@b","agent":"x","phase":"up","full":true,"waiting":[` + strings.Repeat(`"",`, 300) + `""]}`, ErrMalformed},
		{"huge", `{"v":1,"pad":"` + strings.Repeat("x", SizeMax) + `"}`, ErrTooLarge},
	} {
		if b, err := Decode("a@b", []byte(tt.data)); !errors.Is(err, tt.want) || !reflect.ValueOf(b).IsZero() {
			t.Errorf("%s: %+v, %v, want %v", tt.name, b, err, tt.want)
		}
	}
}

func TestUnknownFieldsAreTolerated(t *testing.T) {
	b, err := Decode("a@b", []byte(`{"v":1,"node":"a@b","agent":"x","phase":"up","n":1,"mood":{"good":true}}`))
	if err != nil || b.N != 1 {
		t.Errorf("%+v, %v", b, err)
	}
}

// A program's error message is not under our control; the heartbeat that
// reports it must go out all the same.
func TestTextsNeverSilenceANode(t *testing.T) {
	b := fullBeat()
	b.Apps[0].Error = "\xff" + strings.Repeat("é", 1000)
	b.Waiting = slices.Repeat([]string{strings.Repeat("w", 9999)}, 300)
	b.Since = 1 << 62
	got := roundTrip(t, b)
	if e := got.Apps[0].Error; len(e) > textMax || !strings.HasPrefix(e, "\uFFFDéé") || !strings.HasSuffix(e, "é…") {
		t.Errorf("error cut to %q", e)
	}
	if len(got.Waiting) != waitMax || got.Since != 0 {
		t.Errorf("waits for %d, since %d", len(got.Waiting), got.Since)
	}

	b.Apps = nil
	for i := range 3000 {
		b.Apps = append(b.Apps, machine.AppBeat{App: appNo(i), Failed: true, Error: strings.Repeat("e", 500)})
	}
	if got = roundTrip(t, b); len(got.Apps) != 3000 || got.Apps[0].Error != "" || got.Waiting != nil {
		t.Errorf("%d apps, error %q, waiting %d: want all apps without texts", len(got.Apps), got.Apps[0].Error, len(got.Waiting))
	}
}

func roundTrip(t *testing.T, b machine.Beat) machine.Beat {
	t.Helper()
	data, err := Encode(b)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(b.Node, data)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func appNo(i int) policy.App {
	return policy.App(fmt.Sprintf("app%05d%s", i, strings.Repeat("x", 100)))
}

func TestEncodeRefusesWhatNobodyWouldRead(t *testing.T) {
	for name, change := range map[string]func(*machine.Beat){
		"no agent":  func(b *machine.Beat) { b.Agent = "" },
		"bad phase": func(b *machine.Beat) { b.Phase = "fine" },
		"bad node":  func(b *machine.Beat) { b.Node = "x" },
		"app twice": func(b *machine.Beat) { b.Apps = append(b.Apps, b.Apps[0]) },
		"bad echo":  func(b *machine.Beat) { b.Heard[0].Agent = "\n" },
	} {
		b := fullBeat()
		change(&b)
		if _, err := Encode(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
	b := fullBeat()
	b.Apps = nil
	for i := range 20_000 {
		b.Apps = append(b.Apps, machine.AppBeat{App: appNo(i), Denied: true})
	}
	if _, err := Encode(b); !errors.Is(err, ErrTooLarge) {
		t.Errorf("20000 apps: %v, want ErrTooLarge", err)
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawBeat(t)
		data, err := Encode(b)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(b.Node, data)
		if err != nil || !reflect.DeepEqual(got, b) {
			t.Fatalf("%s\nreads as %+v, %v\nwant     %+v", data, got, err, b)
		}
	})
}

func drawBeat(t *rapid.T) machine.Beat {
	id := rapid.StringMatching(`[!-~]{1,64}`)
	b := machine.Beat{
		Node:    node.Name(rapid.StringMatching(`[A-Za-z0-9_-]{1,9}@[A-Za-z0-9_.:-]{1,9}`).Draw(t, "node")),
		Agent:   policy.Nonce(id.Draw(t, "agent")),
		Session: policy.Session(rapid.OneOf(id, rapid.Just("")).Draw(t, "session")),
		N:       rapid.Uint64().Draw(t, "n"),
		Phase:   rapid.SampledFrom([]machine.BeatPhase{machine.BeatSyncing, machine.BeatUp, machine.BeatClosing, machine.BeatLeft}).Draw(t, "phase"),
		Hidden:  rapid.Bool().Draw(t, "hidden"),
		Full:    rapid.Bool().Draw(t, "full"),
	}
	if !b.Full {
		return b
	}
	b.Digest = rapid.StringMatching(`[ -~]{0,256}`).Draw(t, "digest")
	b.Spec = policy.Revision(rapid.Uint64().Draw(t, "spec"))
	b.Since = rapid.Int64Range(0, timeEnd-1).Draw(t, "since")
	b.Memory, b.Vouches = rapid.Bool().Draw(t, "memory"), rapid.Bool().Draw(t, "vouches")
	names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z][A-Za-z0-9_@-]{0,9}`), 0, 4, rapid.ID[string]).Draw(t, "apps")
	for _, name := range slices.Sorted(slices.Values(names)) {
		b.Apps = append(b.Apps, machine.AppBeat{
			App: policy.App(name), Started: rapid.Bool().Draw(t, "started"), Failed: rapid.Bool().Draw(t, "failed"),
			Type:  rapid.SampledFrom([]policy.RestartType{"", policy.Permanent, policy.Transient, policy.Temporary}).Draw(t, "type"),
			Error: rapid.StringN(0, -1, textMax).Draw(t, "error"), Epoch: policy.Epoch(rapid.Uint64().Draw(t, "epoch")),
			Run: policy.Epoch(rapid.Uint64().Draw(t, "run")), Ending: rapid.Bool().Draw(t, "ending"),
		})
	}
	b.Seq = policy.Revision(rapid.Uint64().Draw(t, "seq"))
	for i := range rapid.IntRange(0, 3).Draw(t, "heard") {
		b.Heard = append(b.Heard, machine.Echo{Agent: policy.Nonce(id.Draw(t, "heard agent")), N: uint64(i)})
	}
	return b
}

func FuzzDecode(f *testing.F) {
	for _, b := range []machine.Beat{fullBeat(), briefBeat()} {
		data, err := Encode(b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"v":2}`))
	f.Add([]byte(`{"v":1,"node":"node1@lxw","agent":"x","phase":"up","full":true,"since":"0000-01-01T00:00:00.000Z"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := Decode("node1@lxw", data)
		if err != nil {
			return
		}
		again, err := Encode(b)
		if err != nil {
			t.Fatalf("%s was read as %+v, but can't be written: %v", data, b, err)
		}
		got, err := Decode("node1@lxw", again)
		if err != nil || !reflect.DeepEqual(got, b) {
			t.Fatalf("%+v comes back as %+v, %v", b, got, err)
		}
		if !json.Valid(again) {
			t.Fatalf("no JSON: %s", again)
		}
	})
}
