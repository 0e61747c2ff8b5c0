// Package arch holds tests about the source itself: which package may import
// which and why, that the core stays pure, and that the documents say what the
// code does.
//
// They read the files, whatever system they are built for, so that a build tag
// hides nothing. Whoever breaks one has either taken a wrong turn or found a
// better way; in the second case the table with the reasons is the place to say
// so.
package arch
