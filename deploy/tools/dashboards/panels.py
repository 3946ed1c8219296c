"""Grafana's JSON from few words: panels, rows and variables of a dashboard."""

from dashboards.queries import metrics, select

_COLUMNS = 24
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def _thresholds(steps):
    """Of (value, colour) pairs that go up; below the first one all is green."""
    return {"mode": "absolute", "steps": [{"color": "green", "value": None},
                                          *({"color": color, "value": value} for value, color in steps)]}


def _panel(kind, title, text, queries, width, height, unit, fields=None, **more):
    """`queries` by legend. The description ends with the metrics, and says first what they mean."""
    queries = {legend: select(query) for legend, query in queries.items()}
    names = dict.fromkeys(name for query in queries.values() for name in metrics(query))
    targets = [{"refId": chr(ord("A") + i), "expr": query, "legendFormat": legend, "range": True}
               for i, (legend, query) in enumerate(queries.items())]
    return {"type": kind, "title": title,
            "description": f"{text}\n\nMetrics: {', '.join(names)}.",
            "datasource": _DATASOURCE, "gridPos": {"h": height, "w": width},
            "fieldConfig": {"defaults": {"unit": unit, **(fields or {})}, "overrides": []},
            "targets": targets, **more}


def series(title, text, queries, unit="short", width=8, thresholds=(), stacked=False, most=None):
    """Lines over time. Thresholds are drawn as lines; `most` is the end of the axis."""
    custom = {"drawStyle": "line", "fillOpacity": 20 if stacked else 0, "showPoints": "never",
              "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
              "thresholdsStyle": {"mode": "line" if thresholds else "off"}}
    fields = {"min": 0, "color": {"mode": "palette-classic"}, "custom": custom,
              "thresholds": _thresholds(thresholds)}
    if most is not None:
        fields["max"] = most
    return _panel("timeseries", title, text, queries, width, 8, unit, fields,
                  options={"legend": {"displayMode": "list", "placement": "bottom"},
                           "tooltip": {"mode": "multi", "sort": "desc"}})


def stat(title, text, query, unit="short", width=4, thresholds=(), good_above=None, decimals=None):
    """One number. `good_above` turns the colours round: red below it."""
    steps = _thresholds(thresholds)
    if good_above is not None:
        steps["steps"] = [{"color": "red", "value": None}, {"color": "green", "value": good_above}]
    fields = {"color": {"mode": "thresholds"}, "thresholds": steps,
              **({} if decimals is None else {"decimals": decimals})}
    return _panel("stat", title, text, {"": query}, width, 4, unit, fields,
                  options={"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value",
                           "graphMode": "area"})


def heatmap(title, text, query, unit="s", width=8):
    panel = _panel("heatmap", title, text, {"{{le}}": query}, width, 8, unit,
                   options={"calculate": False, "yAxis": {"unit": unit}, "cellGap": 1,
                            "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64}})
    panel["targets"][0]["format"] = "heatmap"
    return panel


def table(title, text, columns, units=None, width=24, height=8):
    """A row for each set of labels; `columns` are queries by heading. Labels that all share are hidden."""
    panel = _panel("table", title, text, columns, width, height, "short",
                   options={"showHeader": True, "cellHeight": "sm"})
    renamed = {}
    for target, heading in zip(panel["targets"], columns):
        target.update(format="table", instant=True, range=False)
        target.pop("legendFormat")
        renamed[f"Value #{target['refId']}" if len(columns) > 1 else "Value"] = heading
    panel["transformations"] = [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"renameByName": renamed,
                                       "excludeByName": {"Time": True, "__name__": True}}}]
    panel["fieldConfig"]["overrides"] = [
        {"matcher": {"id": "byName", "options": heading}, "properties": [{"id": "unit", "value": unit}]}
        for heading, unit in (units or {}).items()]
    return panel


def row(title, panels, collapsed=False):
    return {"type": "row", "title": title, "collapsed": collapsed, "panels": panels}


def _variable(name, label, query):
    """Values of a label in the metrics, one or several of them or all."""
    return {"name": name, "label": label, "type": "query", "datasource": _DATASOURCE, "query": query,
            "definition": query, "refresh": 2, "sort": 1, "multi": True, "includeAll": True,
            "current": {"text": ["All"], "value": ["$__all"]}}


def _variables(more):
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
         "current": {}},
        _variable("job", "Job", "label_values(quire_build_info, job)"),
        _variable("model", "Model", 'label_values(quire_build_info{job=~"$job"}, model)'),
        _variable("instance", "Instance",
                  'label_values(quire_build_info{job=~"$job", model=~"$model"}, instance)'),
        *more]


def tenant_variables():
    top = [{"text": str(n), "value": str(n), "selected": n == 10} for n in (5, 10, 20)]
    return [_variable("tenant", "Tenant",
                      "label_values(quire_tenant_requests_accepted_total"
                      '{job=~"$job", model=~"$model"}, tenant)'),
            {"name": "top", "label": "Largest", "type": "custom", "query": "5,10,20", "options": top,
             "current": {"text": "10", "value": "10"}}]


def _place(panels, y, next_id):
    """Sets places, left to right and downwards from `y`, and ids. Returns the row below them."""
    x = height = 0
    for panel in panels:
        place = panel["gridPos"]
        if x + place["w"] > _COLUMNS:
            x, y, height = 0, y + height, 0
        panel["id"] = next_id()
        place.update(x=x, y=y)
        x, height = x + place["w"], max(height, place["h"])
    return y + height


def build(uid, title, text, rows, variables=()):
    """Ids count upwards from the top, so that they change only where panels do."""
    ids = iter(range(1, 1000))
    panels, y = [], 0
    for part in rows:
        head = {**part, "id": next(ids), "gridPos": {"h": 1, "w": _COLUMNS, "x": 0, "y": y}}
        below = _place(part["panels"], y + 1, lambda: next(ids))
        if part["collapsed"]:
            panels.append(head)
            y += 1
        else:
            panels += [{**head, "panels": []}, *part["panels"]]
            y = below
    return {
        "uid": uid, "title": title, "description": text, "tags": ["quire"], "schemaVersion": 39,
        "version": 1, "editable": False, "graphTooltip": 1, "refresh": "10s", "timezone": "browser",
        "time": {"from": "now-30m", "to": "now"},
        "links": [{"type": "dashboards", "title": "Quire", "tags": ["quire"], "asDropdown": False,
                   "includeVars": True, "keepTime": True}],
        "templating": {"list": _variables(variables)}, "annotations": {"list": []}, "panels": panels}
