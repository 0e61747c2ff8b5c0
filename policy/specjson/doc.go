// Package specjson is the JSON form of specifications of distributed apps, as
// it stands in the bucket and in requests.
//
// It is pure. Decoding checks everything that a configuration file would be
// checked for: what comes out can be acted on.
package specjson
