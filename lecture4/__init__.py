"""A lecture on deep-learning fundamentals that runs.

==============================  ==================================  ==============================
Section of the lecture          File                                Command that shows it
==============================  ==================================  ==============================
Softmax classifier              lecture4/models/softmax.py          python train.py model=softmax
Cross-entropy + penalty         lecture4/classifier.py              … penalty=l2
Minibatch SGD                   lecture4/data/module.py             … optim=sgd data.batch_size=64
Gradient descent                lecture4/data/module.py             … data.batch_size=null
Not linearly separable, polar   lecture4/data/rings.py,             python train.py model=softmax
                                lecture4/preprocess.py              data=rings preprocess=polar
Neural networks                 lecture4/models/mlp.py              python train.py model=mlp
Convolution, pooling            lecture4/models/convnet.py          python train.py model=convnet
(N + 2P − F)/S + 1              lecture4/ops/convolution.py         … model.strict_sizes=true
Activation functions            lecture4/models/activation.py       … model.activation=sigmoid
Data preprocessing              lecture4/preprocess.py              … preprocess=mean_image
Weight initialisation           lecture4/init.py                    … model.init=xavier
Adam                            conf/optim/adam.yaml                … optim=adam
==============================  ==================================  ==============================
"""
