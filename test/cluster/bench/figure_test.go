package bench

import (
	"bytes"
	"strings"
	"testing"
)

// TestLimits: each kind of limit is met and missed as its sign in the table says.
func TestLimits(t *testing.T) {
	one := func(v float64) []float64 { return []float64{v} }
	share := atLeast("share", Quiet, "/s", one(97), one(100), 0.98)
	share.OnRatio = true
	paired := atLeast("paired", Quiet, "/s", []float64{99, 10, 50}, []float64{100, 10, 1}, 1)
	paired.OnRatio, paired.Paired = true, true // 0.99, 1, 50: of the medians it is 5
	if paired.Ratio() != 1 {
		t.Errorf("the median of the rounds' ratios is %v", paired.Ratio())
	}
	for _, test := range []struct {
		f    Figure
		met  bool
		sign string
	}{
		{compared("ratio", Quiet, one(2), one(1), 2), true, "≤ 2 ×"},
		{compared("ratio", Quiet, one(2.1), one(1), 2), false, "≤ 2 ×"},
		{below("own", Quiet, "ms", one(300), one(1), 300), false, "< 300 ms"},
		{below("own", Quiet, "ms", one(299), nil, 300), true, "< 300 ms"},
		{added("added", Quiet, "ms", one(1299), one(1000), 300), true, "< +300 ms"},
		{added("added", Quiet, "ms", one(1300), one(1000), 300), false, "< +300 ms"},
		{atLeast("rate", Quiet, "/s", one(60), nil, 60), true, "≥ 60 /s"},
		{atLeast("rate", Quiet, "/s", one(59), nil, 60), false, "≥ 60 /s"},
		{share, false, "≥ 0.98 ×"},
		{shown("why", Quiet, "s", one(9), one(1)), true, ""},
	} {
		if test.f.Met() != test.met {
			t.Errorf("%s, %v beside %v: met is %v", test.f.Name, test.f.Berth, test.f.BareRounds, test.f.Met())
		}
		var out bytes.Buffer
		Table(&out, []Figure{test.f})
		if word := map[bool]string{true: "  met", false: "NOT met"}[test.met]; test.sign != "" && (!strings.Contains(out.String(), test.sign) || !strings.Contains(out.String(), word)) {
			t.Errorf("%s: the table has no %q with %q:\n%s", test.f.Name, test.sign, word, out.String())
		}
	}
}
