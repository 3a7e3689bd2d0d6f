package agent

import (
	"fmt"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/pool"
)

func strangersSubject(pool string) string { return poolSubject(pool) + "/strangers" }

// reportStrangers tells what others have put into a pool's directory. The pool is
// used all the same.
func (p *pools) reportStrangers(cfg config.Pool, all []pool.Stranger) {
	if len(all) == 0 {
		p.reports.clear(strangersSubject(cfg.Name))
		return
	}
	bytes := int64(0)
	for _, s := range all {
		bytes += s.Bytes
	}
	what := fmt.Sprintf("%q is", all[0].Name)
	if more := len(all) - 1; more > 0 {
		what = fmt.Sprintf("%q and %d more are", all[0].Name, more)
	}
	p.reports.set(strangersSubject(cfg.Name), api.ReasonPoolForeign, fmt.Sprintf(
		"%s in pool %q and not Berth's (%s): left alone, and the %d bytes that are taken there are promised to no volume; move that elsewhere, and restart the agent, or leave it",
		what, cfg.Name, cfg.Where(), bytes))
}
