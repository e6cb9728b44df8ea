package lanes_test

import (
	"sync"
	"testing"

	"wsgateway/internal/lanes"
)

// One call at a time of each of many keys, as messages of many clients come.
func BenchmarkPost(b *testing.B) {
	p, err := lanes.New[uint64, string](config{Size: 64})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close(b.Context())
	b.ReportAllocs()
	var wg sync.WaitGroup
	call := func() { wg.Done() }
	key := uint64(0)
	for b.Loop() {
		key++
		wg.Add(1)
		p.Post(key%1000, call)
	}
	wg.Wait()
}
