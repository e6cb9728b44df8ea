package metrics

import (
	"runtime"
	runtimemetrics "runtime/metrics"

	"wsgateway/session"
)

// Metrics of the process.
var (
	buildInfo = desc("build_info", "Always 1; the labels tell what was built.", "version", "goversion")
	memory    = desc("memory_per_connection_bytes", "Memory of the process beyond what it had when empty, per open connection; 0 when there is none.")
)

// process emits what the process is and takes. idle is the memory it took without connections.
func (e emitter) process(st *session.Stats, version string, idle uint64) {
	e.gauge(buildInfo, 1, version, runtime.Version())
	perConn := 0.0
	if now := ownMemory(); st.Conns > 0 && now > idle {
		perConn = float64(now-idle) / float64(st.Conns)
	}
	e.gauge(memory, perConn)
}

// ownMemory returns the bytes the Go runtime has from the system and has not given back.
func ownMemory() uint64 {
	samples := []runtimemetrics.Sample{
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	runtimemetrics.Read(samples)
	return samples[0].Value.Uint64() - samples[1].Value.Uint64()
}
