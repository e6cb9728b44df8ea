package wsproto_test

import (
	"maps"
	"testing"

	"wsgateway/wsproto"
)

func TestPathValues(t *testing.T) {
	head := []byte("GET /room/7/a HTTP/1.1\r\nHost: x\r\n\r\n")
	var r wsproto.Request
	parse := func() {
		t.Helper()
		if err := wsproto.ParseRequest(head, &wsproto.DefaultHeadLimits, &r); err != nil {
			t.Fatal(err)
		}
	}
	parse()
	if r.PathValue("id") != "" || r.PathValues() != nil {
		t.Errorf("before anything is set: %q, %v, want nothing", r.PathValue("id"), r.PathValues())
	}
	r.SetPathValues(wsproto.NewPathValues([]string{"id", "rest"}, []string{"7", "a"}))
	req, err := r.HTTPRequest()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"id": "7", "rest": "a", "no": ""} {
		if got := [3]string{r.PathValue(name), r.PathValues().Get(name), req.PathValue(name)}; got != [3]string{want, want, want} {
			t.Errorf("value of %q: %q, want three times %q", name, got, want)
		}
	}
	if all := maps.Collect(r.PathValues().All); len(all) != 2 || all["id"] != "7" || all["rest"] != "a" {
		t.Errorf("all values: %v, want 7 and a", all)
	}
	parse()
	if r.PathValue("id") != "" {
		t.Errorf("the next request has the value %q of the one before", r.PathValue("id"))
	}
	if v := wsproto.NewPathValues(nil, nil); v != nil || v.Get("id") != "" || len(maps.Collect(v.All)) != 0 {
		t.Errorf("values of no wildcards: %v, want nil", v)
	}
}
