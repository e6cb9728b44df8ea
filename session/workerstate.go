package session

import "wsgateway/wsproto"

// workerState is what a loop, a worker or Close needs to serve connections, one at a time.
type workerState struct {
	turn     turn            // the current one
	dec      wsproto.Decoder // zero between turns
	req      wsproto.Request // that is being judged where it lies
	request  request         // likewise
	upgrader *wsproto.Upgrader
	inflater *wsproto.Inflater // made when it is needed first
	scratch  []byte
	date     wsproto.DateFormatter
	watch    callWatch
	stats    workerStats
}

func newWorkerState() *workerState {
	return &workerState{upgrader: wsproto.NewUpgrader(), scratch: make([]byte, 0, 1024)}
}

// shrink gives up a scratch buffer that has become large.
func (w *workerState) shrink() {
	if cap(w.scratch) > maxPooled {
		w.scratch = nil
	}
}

func (w *workerState) inflate() *wsproto.Inflater {
	if w.inflater == nil {
		w.inflater = wsproto.NewInflater()
	}
	return w.inflater
}
