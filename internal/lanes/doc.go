// Package lanes runs calls that may block in a bounded pool of goroutines, with one lane a key.
//
// A key names whatever must not be called twice at a time, such as a connection. The calls of one
// key run one at a time, in the order in which they were posted. Calls of different keys run
// concurrently, in as many goroutines as the pool may have:
//
//	post(a) post(a) post(b)         a: ─call─ ─call─ drained
//	                                b: ─call─ drained
//
// A lane exists while calls of its key wait or run. It costs nothing otherwise. After each call a
// lane goes behind the lanes that wait, so a key with many calls does not starve the others. Pool
// goroutines start on demand and end when they have been idle for a while: a pool at rest has no
// goroutine and no timer.
//
// The package knows neither sessions nor sockets. It limits how many calls run, not how many wait:
// the caller asks Full before it accepts new work, and Forget drops the calls of a key that has no
// use for them any more.
package lanes
