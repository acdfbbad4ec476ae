from dprd_cli.config.facts import GIB, DataFacts, MachineFacts


def test_facts_in_words():
    data = DataFacts(
        images=9,
        with_objects=8,
        objects=20,
        masks=0,
        classes=2,
        short_side=96.5,
        small_object=0.1,
        val_images=3,
    )
    assert data.line() == "9 images (short side 96), 20 objects (boxes only), 2 classes"
    assert MachineFacts("cpu", "the CPU", 3 * GIB, 2).line() == "the CPU with 3 GiB free, 2 cores"
