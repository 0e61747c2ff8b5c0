package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/manager/status"
	"github.com/seed7529eb29/regent/policy/node"
)

// slowWrite is a write that takes a good part of the embedded lease's request.
const slowWrite = 200 * time.Millisecond

// Server looks at the version of a NATS server.
func Server(name, version string) Check {
	if err := kv.CheckServer(version); err != nil {
		return failed("NATS server", kv.Hint(err), "%s: %v", name, err)
	}
	return ok("NATS server", "%s, version %s", name, version)
}

// Bucket looks at the settings of the bucket, at its replicas, and whether a
// write is acknowledged: a store can look healthy and be wedged.
func Bucket(ctx context.Context, s *kv.Store, err error) []Check {
	const name = "JetStream"
	if err != nil {
		return []Check{failed(name, kv.Hint(err), "%v", err)}
	}
	q, err := s.Quorum(ctx)
	if err != nil {
		return []Check{failed(name, kv.Hint(err), "%v", err)}
	}
	checks := []Check{replicas(s.Bucket(), q)}
	begin := time.Now()
	_, err = s.Probe(ctx)
	switch {
	case errors.Is(err, kv.ErrNoRights):
		return append(checks, skipped("write", "this user may not write to the bucket"))
	case err != nil:
		return append(checks, failed("write", kv.Hint(err), "not acknowledged: %v", err))
	}
	took := time.Since(begin)
	if took > slowWrite {
		return append(checks, warning("write", "look at the servers' disks and at the network between them", "acknowledged after %v", took.Round(time.Millisecond)))
	}
	return append(checks, ok("write", "acknowledged after %v", took.Round(100*time.Microsecond)))
}

func replicas(bucket string, q kv.Quorum) Check {
	const name = "JetStream"
	var behind []string
	for _, p := range q.Peers {
		switch {
		case p.Offline:
			behind = append(behind, p.Name+" is not heard")
		case !p.Current:
			behind = append(behind, fmt.Sprintf("%s is %d behind", p.Name, p.Lag))
		}
	}
	switch {
	case !q.OK:
		return failed(name, "start the missing servers: a majority must run and reach one another", "bucket %s: %s", bucket, strings.Join(behind, ", "))
	case len(behind) > 0:
		return warning(name, "see what holds it up; one more and nothing can be written", "bucket %s: %s", bucket, strings.Join(behind, ", "))
	case q.Servers < 3:
		return warning(name, "three voters, or three NATS servers and replicas, survive the loss of one",
			"bucket %s has replicas %d, at %s: without it nothing starts, and what runs stops", bucket, q.Servers, q.Leader)
	}
	return ok(name, "bucket %s has its settings and %d replicas, led by %s", bucket, q.Servers, q.Leader)
}

// Cluster looks at what a node says of all of them.
func Cluster(d *status.Document) []Check {
	checks := []Check{quorum(d)}
	versions := map[string]bool{}
	var down []string
	for _, n := range d.Nodes {
		switch n.State {
		case machine.NodeDown, machine.NodeSuspect, machine.NodeSyncing:
			down = append(down, fmt.Sprintf("%s is %s", n.Name, n.State))
		case machine.NodeUp:
			versions[n.Version] = true
		}
	}
	if len(down) > 0 {
		checks = append(checks, warning("nodes", "see: regent status", "%s", strings.Join(down, ", ")))
	} else {
		checks = append(checks, ok("nodes", "%d known, all up or left", len(d.Nodes)))
	}
	if len(versions) > 1 {
		checks = append(checks, warning("versions", "bring all nodes to the same", "%d different ones run", len(versions)))
	}
	for _, a := range d.Apps {
		if a.State == machine.AppFailed {
			checks = append(checks, warning("app "+string(a.Name), "see: regent why "+string(a.Name), "failed: %s", a.Error))
		}
	}
	return checks
}

// Copies looks at what the nodes that answered say of their own copies of the
// records: the leader takes a replica for current that still fetches what the
// log refers to. Servers that are somebody else's are not theirs to judge.
func Copies(d *status.Document, behind map[node.Name]string) []Check {
	if d.Quorum.Mode != status.Embedded {
		return nil
	}
	var incomplete []string
	for _, n := range slices.Sorted(maps.Keys(behind)) {
		if why := behind[n]; why != "" {
			incomplete = append(incomplete, fmt.Sprintf("%s: %s", n, why))
		}
	}
	if len(incomplete) > 0 {
		return []Check{warning("copies", "take no other voter away until they are complete", "of the records, incomplete: %s", strings.Join(incomplete, "; "))}
	}
	return []Check{ok("copies", "of the records, complete at every voter that answered")}
}

func quorum(d *status.Document) Check {
	if d.Quorum.OK {
		return ok("quorum", "as seen by %s: servers %d, %s", d.Node, d.Quorum.Servers, d.Quorum.Mode)
	}
	return failed("quorum", "start the missing ones: a majority must run and reach one another", "as seen by %s there is none", d.Node)
}
