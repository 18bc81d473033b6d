"""At a city's counter (notice 附件一, 一(二)): forms, photo, checklist, old certificates; the month never waits."""
