// Package status is what a node tells about its cluster as JSON: the document
// of "regent status --json", which the verb status of the micro service
// answers with too.
//
// It is pure: types, and the conversion of the machine's own status. Fields may
// be added, never renamed or removed; Schema counts what would break a reader.
//
// All lists are sorted by name, so that two documents can be compared as text.
// The one exception is the priority order of an app's nodes, whose tuples are
// sorted within.
package status
