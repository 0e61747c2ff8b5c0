// Package nodefile lets client commands find the nodes that run on this
// machine as this user.
//
// Each running node keeps one small file, with its name and the URL of its
// client port and no secret, in the directory $XDG_RUNTIME_DIR/regent, or
// regent-UID below the directory for temporary files where that variable is
// not set. [List] looks at both, since a service and a login shell often differ
// in it.
//
// The directory belongs to the user alone (mode 0700): anybody can make one of
// that name first, so another owner or wider rights are an error, never used.
// A file whose process is gone is stale: it is skipped and removed.
package nodefile
