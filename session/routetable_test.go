package session

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// fakeRoutes returns n routes of a table that nobody searches.
func fakeRoutes(n int) []*route {
	list := make([]*route, n)
	for i := range list {
		list[i] = new(route)
	}
	return list
}

func setTable(t testing.TB, ts *routeTables, n int) *routeTable {
	t.Helper()
	if err := ts.set(fakeRoutes(n), nil); err != nil {
		t.Fatal(err)
	}
	return ts.current.Load()
}

func wantAlive(t testing.TB, ts *routeTables, want int) {
	t.Helper()
	if _, n := ts.stats(); n != want {
		t.Errorf("%d route tables are alive, want %d", n, want)
	}
}

// A table that has been replaced lives until its last user has left, and is garbage then.
func TestRouteTableIsFreed(t *testing.T) {
	ts := newRouteTables(newCallPools(nil, 1, 1))
	freed := make(chan struct{})
	number := func() uint16 {
		first := setTable(t, ts, 2)
		runtime.AddCleanup(first, func(done chan struct{}) { close(done) }, freed)
		for range 2 {
			if ts.enter() != first {
				t.Error("enter returned another table than the current one")
			}
		}
		setTable(t, ts, 3)
		first.leave()
		wantAlive(t, ts, 2)
		last := first.routes[1]
		if ts.at(last.number) != last {
			t.Errorf("route %d is not found by its number although its table has a user", last.number)
		}
		first.leave()
		return last.number
	}()
	wantAlive(t, ts, 1)
	if ts.at(number) != noRoute {
		t.Errorf("number %d still has a route", number)
	}
	for deadline := time.Now().Add(30 * time.Second); ; runtime.GC() {
		select {
		case <-freed:
			return
		case <-time.After(time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("the table is still referred to after 30 s")
		}
	}
}

func TestRouteTablesAreBounded(t *testing.T) {
	ts := newRouteTables(newCallPools(nil, 1, 1))
	var entered []*routeTable
	for range MaxRouteTables - 1 {
		setTable(t, ts, 1)
		entered = append(entered, ts.enter())
	}
	current := setTable(t, ts, 1)
	if err := ts.set(fakeRoutes(1), nil); !errors.Is(err, ErrRouteTables) || ts.current.Load() != current {
		t.Errorf("table %d: error %v, want ErrRouteTables and the table before it", MaxRouteTables+1, err)
	}
	entered[7].leave()
	if setTable(t, ts, 1) == current {
		t.Error("the current table is the one before")
	}
}

func TestRoutesOfLivingTablesAreBounded(t *testing.T) {
	ts := newRouteTables(newCallPools(nil, 1, 1))
	first := setTable(t, ts, 40_000)
	ts.enter()
	second := setTable(t, ts, maxRoutes-40_000)
	if err := ts.set(fakeRoutes(1), nil); !errors.Is(err, ErrRouteTables) || ts.current.Load() != second {
		t.Errorf("route %d: error %v, want ErrRouteTables and the table before it", maxRoutes+1, err)
	}
	if ts.at(first.routes[39_999].number) != first.routes[39_999] {
		t.Error("after the refusal a route is not found by its number")
	}
	first.leave()
	third := setTable(t, ts, 40_000)
	if r := third.routes[39_999]; ts.at(r.number) != r {
		t.Error("a number that was given again leads to another route")
	}
}

// Whatever is set, entered and left: a route is found by its number for as long as its table has
// users, and no number has two.
func TestRouteTablesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ts := newRouteTables(newCallPools(nil, 1, 1))
		_ = ts.set(fakeRoutes(1), nil)
		users := make(map[*routeTable]int)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				_ = ts.set(fakeRoutes(rapid.IntRange(1, 5).Draw(t, "routes")), nil)
			case 1, 2:
				users[ts.enter()]++
			case 3:
				for table, n := range users { // any one
					table.leave()
					if users[table]--; n == 1 {
						delete(users, table)
					}
					break
				}
			}
			alive := map[*routeTable]bool{ts.current.Load(): true}
			for table := range users {
				alive[table] = true
			}
			if _, n := ts.stats(); n != len(alive) {
				t.Fatalf("%d tables are alive, want %d", n, len(alive))
			}
			numbers := make(map[uint16]bool)
			for table := range alive {
				for _, r := range table.routes {
					if ts.at(r.number) != r || numbers[r.number] {
						t.Fatalf("number %d of table %d leads to another route", r.number, table.generation)
					}
					numbers[r.number] = true
				}
			}
		}
	})
}

// Users come and go while tables are replaced: each finds its route by its number all the time.
func TestRouteTablesConcurrently(t *testing.T) {
	ts := newRouteTables(newCallPools(nil, 1, 1))
	setTable(t, ts, 3)
	stop := make(chan struct{})
	var users sync.WaitGroup
	for range 4 {
		users.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				table := ts.enter()
				for _, r := range table.routes {
					for range 3 {
						if got := ts.at(r.number); got != r {
							t.Errorf("number %d of table %d leads to another route", r.number, table.generation)
						}
						runtime.Gosched()
					}
				}
				table.leave()
			}
		})
	}
	for i := range 2000 {
		if err := ts.set(fakeRoutes(1+i%7), nil); err != nil {
			t.Error(err)
		}
		runtime.Gosched()
	}
	close(stop)
	users.Wait()
	wantAlive(t, ts, 1)
	if generation, _ := ts.stats(); generation != 2001 {
		t.Errorf("generation %d, want 2001", generation)
	}
}

// An ordinary session keeps no path beside its record, even where its pattern has a host, or a slash
// at its end.
func TestOwnPath(t *testing.T) {
	for pattern, want := range map[string]string{
		"/chat": "/chat", "/": "/", "/a/": "/a/", "/a/{$}": "/a/", "GET h.test/chat": "/chat", "/{$}": "/",
		"/room/{id}": "", "/files/{rest...}": "", "/{id}/{$}": "",
	} {
		p, err := newPatterns(routesOf(pattern))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.routes[0].ownPath; got != want {
			t.Errorf("pattern %q: path %q, want %q", pattern, got, want)
		}
	}
}

func TestSameFaultsAtAllTimes(t *testing.T) {
	routes := []Route{{Path: "/x*", Handler: HandlerFuncs{}}, {Path: "/ok"}, {Path: "/rate", Handler: HandlerFuncs{}, Rate: Rate{Messages: -1}, MaxMessage: -1}}
	_, atFirst := NewServer(Config{Routes: routes, PingTimeout: -1})
	s, err := NewServer(Config{Routes: routesOf("/")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	later := s.SetRoutes(routes)
	if later == nil || fmt.Sprint(atFirst) != "session: Config.PingTimeout is negative\n"+later.Error() {
		t.Errorf("NewServer says:\n%v\nSetRoutes says:\n%v", atFirst, later)
	}
	if got := s.Routes(); len(got) != 1 || got[0].Path != "/" {
		t.Errorf("after an error the routes are %+v", got)
	}
}
