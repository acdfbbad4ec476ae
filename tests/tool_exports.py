"""Data sets as annotation programs export them, made here; on the import path of every test.

Layouts and keys follow the programs' own documentation and source (CVAT, Label Studio, Roboflow, labelme,
labelme2coco, FiftyOne, VIA, Datumaro).
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as rle_masks

HEIGHT, WIDTH = 48, 64
CLASSES = ("cat", "dog")
SQUARE, KITE = [10, 10, 30, 10, 30, 26, 10, 26], [35, 20, 55, 20, 55, 40, 40, 40]
#: Class and polygon of the objects of every image.
OBJECTS = (("cat", SQUARE), ("dog", KITE))
NAMES = tuple(f"img_{letter}" for letter in "abcdefgh")
_XML = """<annotation><folder></folder><filename>{name}</filename><size><width>64</width><height>48</height>
<depth>3</depth></size><segmented>0</segmented>{objects}</annotation>"""
_OBJECT = """<object><name>{name}</name><truncated>0</truncated><occluded>0</occluded><difficult>0</difficult>
<bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"""


def bounds(ring):
    """Return xyxy."""
    return min(ring[::2]), min(ring[1::2]), max(ring[::2]), max(ring[1::2])


def xywh(ring):
    x1, y1, x2, y2 = bounds(ring)
    return [float(x1), float(y1), float(x2 - x1), float(y2 - y1)]


def draw(path):
    """Write an image of noise with both objects; every name has its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(path.stem.encode()))
    pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    pixels[10:26, 10:30], pixels[20:40, 35:55] = (220, 30, 30), (30, 30, 220)
    Image.fromarray(pixels).save(path)


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def coco(file_names, first_id=1, **changes):
    """Return a COCO tree; `first_id` is that of categories, `changes` go into every annotation."""
    sizes = {"width": WIDTH, "height": HEIGHT}
    images = [{"id": n, "file_name": name, **sizes} for n, name in enumerate(file_names, 1)]
    anns = []
    for image in images:
        for name, ring in OBJECTS:
            ann = {
                "id": len(anns) + 1,
                "image_id": image["id"],
                "category_id": first_id + CLASSES.index(name),
            }
            segmentation = {"segmentation": [ring], "area": 300.0, "bbox": xywh(ring), "iscrowd": 0}
            anns.append({**ann, **segmentation, **changes})
    categories = [{"id": n, "name": name, "supercategory": ""} for n, name in enumerate(CLASSES, first_id)]
    return {"licenses": [], "info": {}, "categories": categories, "images": images, "annotations": anns}


def xml(path, file_name):
    objects = "".join(_OBJECT.format(name=name, box=bounds(ring)) for name, ring in OBJECTS)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_XML.format(name=file_name, objects=objects))


def yolo_labels(path, polygons=False):
    """Write a label file of boxes or polygons."""
    lines = []
    for name, ring in OBJECTS:
        x1, y1, x2, y2 = bounds(ring)
        box = [(x1 + x2) / 2 / WIDTH, (y1 + y2) / 2 / HEIGHT, (x2 - x1) / WIDTH, (y2 - y1) / HEIGHT]
        shares = [value / (WIDTH, HEIGHT)[n % 2] for n, value in enumerate(ring)] if polygons else box
        lines.append(" ".join(map(str, [CLASSES.index(name), *shares])))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def points(ring):
    return [list(point) for point in zip(ring[::2], ring[1::2], strict=True)]


def rle(ring):
    """Return a polygon as uncompressed COCO runs, as CVAT writes brush masks."""
    mask = rle_masks.decode(rle_masks.merge(rle_masks.frPyObjects([ring], HEIGHT, WIDTH)))
    flat = mask.ravel(order="F").astype(np.int8)
    changes = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *changes, flat.size]).tolist()
    return {"counts": runs if not flat[0] else [0, *runs], "size": [HEIGHT, WIDTH]}


def cvat_coco(root):
    for name in NAMES:
        draw(root / "images" / "default" / f"{name}.jpg")
    tree = coco([f"{name}.jpg" for name in NAMES], attributes={"occluded": False})
    write_json(root / "annotations" / "instances_default.json", tree)


def cvat_coco_subsets(root):
    for subset, names in (("Train", NAMES[:6]), ("Validation", NAMES[6:])):
        for name in names:
            draw(root / "images" / subset / f"{name}.jpg")
        tree = coco([f"{name}.jpg" for name in names])
        write_json(root / "annotations" / f"instances_{subset}.json", tree)


def cvat_coco_masks(root):
    cvat_coco(root)
    tree = coco([f"{name}.jpg" for name in NAMES], iscrowd=1)
    for ann, (_, ring) in zip(tree["annotations"], OBJECTS * len(NAMES), strict=True):
        ann["segmentation"] = rle(ring)
    write_json(root / "annotations" / "instances_default.json", tree)


def cvat_voc(root):
    for name in NAMES:
        draw(root / "JPEGImages" / f"{name}.jpg")
        xml(root / "Annotations" / f"{name}.xml", f"{name}.jpg")
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "default.txt").write_text("\n".join(NAMES) + "\n")
    (lists / "cat_default.txt").write_text("".join(f"{name}  1\n" for name in NAMES))
    (root / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:128,0,0::\n")


def cvat_yolo(root):
    for name in NAMES:
        draw(root / "obj_train_data" / f"{name}.jpg")
        yolo_labels(root / "obj_train_data" / f"{name}.txt")
    (root / "obj.names").write_text("cat\ndog\n")
    (root / "obj.data").write_text("classes = 2\nnames = data/obj.names\ntrain = data/train.txt\n")
    lines = (f"data/obj_train_data/{name}.jpg\n" for name in NAMES)
    (root / "train.txt").write_text("".join(lines))


def cvat_ultralytics(root):
    for name in NAMES:
        draw(root / "images" / "train" / f"{name}.jpg")
        yolo_labels(root / "labels" / "train" / f"{name}.txt", polygons=True)
    (root / "data.yaml").write_text("names:\n  0: cat\n  1: dog\npath: .\ntrain: train.txt\n")
    (root / "train.txt").write_text("".join(f"data/images/train/{name}.jpg\n" for name in NAMES))


def datumaro(root):
    items = []
    for name in NAMES:
        draw(root / "images" / "default" / f"{name}.jpg")
        common = {"attributes": {"occluded": False}, "z_order": 0}
        cat = {"id": 0, "type": "bbox", "group": 0, "label_id": 0, "bbox": xywh(SQUARE), **common}
        dog = {"id": 0, "type": "polygon", "group": 0, "label_id": 1, "points": KITE, **common}
        point = {"id": 0, "type": "points", "group": 0, "label_id": 1, "points": [3, 3], **common}
        image = {"path": f"{name}.jpg", "size": [HEIGHT, WIDTH]}
        items.append({"id": name, "annotations": [cat, dog, point], "attr": {"frame": 0}, "image": image})
    labels = [{"name": name, "parent": "", "attributes": []} for name in CLASSES]
    tree = {"info": {}, "categories": {"label": {"labels": labels, "attributes": []}}, "items": items}
    write_json(root / "annotations" / "default.json", tree)


def _label_studio(root, prefix):
    names = [f"{n:08x}-{name}.png" for n, name in enumerate(NAMES)]
    for name in names:
        draw(root / "images" / name)
    write_json(root / "result.json", coco([prefix + name for name in names], first_id=0, ignore=0))


def label_studio_coco(root):
    _label_studio(root, "images/1/")


def label_studio_windows(root):
    _label_studio(root, "..\\..\\label-studio\\label-studio\\media\\upload\\1\\")


def label_studio_encoded(root):
    names = [f"my {name} (1).png" for name in NAMES]
    for name in names:
        draw(root / "images" / name)
    written = [name.replace(" ", "%20").replace("(", "%28").replace(")", "%29") for name in names]
    write_json(root / "result.json", coco([f"images/{name}" for name in written], first_id=0))


def label_studio_yolo(root):
    for name in NAMES:
        draw(root / "images" / f"{name}.jpg")
        yolo_labels(root / "labels" / f"{name}.txt")
    (root / "classes.txt").write_text("cat\ndog\n")
    categories = [{"id": n, "name": name} for n, name in enumerate(CLASSES)]
    write_json(root / "notes.json", {"categories": categories, "info": {"contributor": "Label Studio"}})


_ROBOFLOW = (("train", NAMES[:6]), ("valid", NAMES[6:]))


def _hashed(name):
    return f"{name}_jpg.rf.{name.encode().hex():0<32}.jpg"


def roboflow_coco(root):
    for split, names in _ROBOFLOW:
        for name in names:
            draw(root / split / _hashed(name))
        tree = coco([_hashed(name) for name in names])
        tree["categories"].insert(0, {"id": 0, "name": "pets", "supercategory": "none"})
        write_json(root / split / "_annotations.coco.json", tree)


def roboflow_voc(root):
    for split, names in _ROBOFLOW:
        for name in map(_hashed, names):
            draw(root / split / name)
            xml((root / split / name).with_suffix(".xml"), name)


def roboflow_yolo(root):
    for split, names in _ROBOFLOW:
        for name in map(_hashed, names):
            draw(root / split / "images" / name)
            yolo_labels((root / split / "labels" / name).with_suffix(".txt"), polygons=True)
    places = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
    (root / "data.yaml").write_text(f"{places}\nnc: 2\nnames: ['cat', 'dog']\n\nroboflow:\n  project: pets\n")


def labelme_shape(label, kind, corners, group=None):
    more = {"group_id": group, "description": "", "shape_type": kind, "flags": {}, "mask": None}
    return {"label": label, "points": corners, **more}


def labelme(root, image="{}.jpg"):
    for name in NAMES:
        draw(root / f"{name}.jpg")
        shapes = [
            labelme_shape("cat", "rectangle", [[30.0, 26.0], [10.0, 10.0]]),
            labelme_shape("dog", "polygon", points(KITE[:6]), 1),
            labelme_shape("dog", "polygon", points([KITE[0], KITE[1], *KITE[4:]]), 1),
            labelme_shape("cat", "point", [[3, 3]]),
        ]
        size = {"imageHeight": HEIGHT, "imageWidth": WIDTH}
        document = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": image.format(name)}
        write_json(root / f"{name}.json", {**document, "imageData": None, **size})


def labelme2coco_script(root):
    for name in NAMES:
        draw(root / "JPEGImages" / f"{name}.jpg")
    tree = coco([f"JPEGImages/{name}.jpg" for name in NAMES])
    tree["type"] = "instances"
    tree["categories"].insert(0, {"id": 0, "name": "_background_", "supercategory": None})
    write_json(root / "annotations.json", tree)


def labelme2coco_package(root):
    for name in NAMES:
        draw(root / f"{name}.jpg")
    write_json(root / "dataset.json", coco([f"/home/me/labels/{name}.jpg" for name in NAMES], first_id=0))


def fiftyone(root):
    for name in NAMES:
        draw(root / "data" / f"{name}.jpg")
    write_json(root / "labels.json", coco([f"{name}.jpg" for name in NAMES], supercategory=None))


def fiftyone_splits(root):
    for split, names in (("train", NAMES[:6]), ("validation", NAMES[6:])):
        for name in names:
            draw(root / split / "data" / f"{name}.jpg")
        write_json(root / split / "labels.json", coco([f"{name}.jpg" for name in names]))


def _via(root, names, listed):
    tree = {}
    for name in names:
        draw(root / f"{name}.jpg")
        x, y, w, h = xywh(SQUARE)
        shapes = [
            {"name": "rect", "x": x, "y": y, "width": w, "height": h},
            {"name": "polygon", "all_points_x": KITE[::2], "all_points_y": KITE[1::2]},
        ]
        regions = [
            {"shape_attributes": shape, "region_attributes": {"animal": kind}}
            for shape, kind in zip(shapes, CLASSES, strict=True)
        ]
        regions.append({"shape_attributes": {"name": "point", "cx": 3, "cy": 3}, "region_attributes": {}})
        entry = {"filename": f"{name}.jpg", "size": 1234, "file_attributes": {}}
        tree[f"{name}.jpg1234"] = entry | {"regions": regions if listed else dict(enumerate(regions))}
    return tree


def via_project(root):
    tree = _via(root, NAMES, listed=True)
    ids = [*tree]
    settings = {"_via_settings": {"ui": {}}, "_via_img_metadata": tree, "_via_image_id_list": ids}
    write_json(root / "via_project_28Nov2026.json", settings | {"_via_data_format_version": "2.0.10"})


def via_regions(root):
    for split, names in (("train", NAMES[:6]), ("val", NAMES[6:])):
        write_json(root / split / "via_region_data.json", _via(root / split, names, listed=False))


def lone_json(root):
    for name in NAMES:
        draw(root / f"{name}.png")
    write_json(root / "mine.json", coco([f"{name}.png" for name in NAMES]))


def label_img(root):
    for name in NAMES:
        draw(root / f"{name}.jpg")
        xml(root / f"{name}.xml", f"{name}.jpg")


def label_img_yolo(root):
    for name in NAMES:
        draw(root / f"{name}.jpg")
        yolo_labels(root / f"{name}.txt")
    (root / "classes.txt").write_text("cat\ndog\n")


def linked_tree(root):
    """A snapshot of the Hugging Face hub, or DVC's checkout: every image is a link into a store beside it."""
    for name in NAMES:
        blob = root.parent / "blobs" / f"{name}.jpg"
        draw(blob)
        path = root / "images" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(blob)
    write_json(root / "train.json", coco([f"{name}.jpg" for name in NAMES[:6]]))
    write_json(root / "val.json", coco([f"{name}.jpg" for name in NAMES[6:]]))


#: Writer -> whether it keeps masks: of both objects, of one, of none.
EXPORTS = {
    **dict.fromkeys((cvat_coco, cvat_coco_subsets, cvat_coco_masks, cvat_ultralytics), 2),
    **dict.fromkeys((label_studio_coco, label_studio_windows, label_studio_encoded), 2),
    **dict.fromkeys((roboflow_coco, roboflow_yolo, labelme2coco_script, labelme2coco_package), 2),
    **dict.fromkeys((fiftyone, fiftyone_splits, lone_json, linked_tree), 2),
    **dict.fromkeys((datumaro, labelme, via_project, via_regions), 1),
    **dict.fromkeys((cvat_voc, cvat_yolo, label_studio_yolo, roboflow_voc, label_img, label_img_yolo), 0),
}
#: What else a data set needs to be told.
SETTINGS = {cvat_coco_masks: {"crowds": "objects"}, linked_tree: {"follow_links": True}}


def export(writer, folder):
    """Write an export into a new folder; return it and what its data section needs to say."""
    root = Path(folder) / writer.__name__
    root.mkdir(parents=True, exist_ok=True)
    writer(root)
    return root, SETTINGS.get(writer, {})
